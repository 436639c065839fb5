"""The tour runs the notebooks themselves; here with a tiny model, a few rows and two steps."""

import json
import re

import pytest

from etabli.app.tour import tour
from etabli.core import contracts
from etabli.core.errors import DeviceBusy, EtabliError
from etabli.evaluation import table
from etabli.evaluation.aggregate import summarise
from etabli.runs.run import Run
from own_cache import cache_in


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETABLI_CACHE", str(cache_in(tmp_path_factory.mktemp("tour-cache") / "cache")))
        out = tmp_path_factory.mktemp("tour") / "tour"
        yield out, tour(out, model=tiny, steps=2, ROWS=40, TEST=6, FORMS=["merged", "gguf:q4_k_m"])


@pytest.mark.slow
class TestTour:
    def test_it_leaves_what_it_promises(self, made):
        out, _ = made
        for name in ("00_machine", "01_data", "02_finetune", "03_evaluate", "04_export"):
            assert (out / f"{name}.html").stat().st_size > 10_000
        assert Run.attach(out / "runs" / "first").state == "completed"
        assert json.loads((out / "machine.json").read_text())["ok"]
        assert (out / "export" / "merged" / "model.safetensors").is_file()

    def test_results_have_the_schema_and_can_be_made_again(self, made):
        out, results = made
        assert results == json.loads((out / "results.json").read_text())
        assert set(results) == set(contracts.Results.__annotations__)
        assert len(results["rows"]) == 12
        for row in results["rows"]:
            assert set(row) == set(contracts.AnsweredRow.__annotations__)
            assert set(row["answers"]) == set(row["correct"]) == set(contracts.ARMS)
        for score in results["scores"]:
            assert set(score) == set(contracts.Score.__annotations__)
            assert set(score["arms"]) == set(contracts.ARMS) - ({"lookup"} if score["name"] == "loss" else set())
        again = summarise(results)
        assert again["scores"] == results["scores"] and again["verdict"] == results["verdict"]

    def test_lookup_and_prompted_base_stand_beside_the_tuned_model(self, made):
        out, results = made
        report = (out / "report.html").read_text()
        for where in (table.format_results(results), report, (out / "03_evaluate.html").read_text()):
            assert all(arm in where for arm in contracts.ARMS)

    def test_widgets_are_in_the_html_as_they_ended(self, made):
        out, _ = made
        assert "first</b>: completed" in (out / "02_finetune.html").read_text()
        page = (out / "03_evaluate.html").read_text()
        assert "Write a short poem about the sea." in page and "<th>asked" in page

    def test_plots_are_in_the_html_with_their_script(self, made):
        page = (made[0] / "02_finetune.html").read_text()
        assert "Plotly.newPlot" in page and "cdn.plot.ly/plotly" not in page.replace(" src=", "")[:2000]

    def test_no_frame_cuts_a_text(self, made):
        for page in made[0].glob("0*.html"):
            assert not re.search(r"\.\.\.\s*</t[dh]>", page.read_text()), page.name

    def test_pages_have_titles_load_nothing_and_install_nothing(self, made):
        pages = [path.read_text() for path in sorted(made[0].glob("0*.html"))]
        titles = [re.search("<title>(.*)</title>", page)[1] for page in pages]
        assert titles[1] == "établi: 1 · The data" and len(set(titles)) == len(pages) == 5
        for page in pages:
            assert (
                not re.search(r"<(script|link|img)[^>]* (src|href)=\"?(https?:)?//", page) and "pip install" not in page
            )

    def test_a_second_tour_keeps_the_first(self, made, monkeypatch):
        from etabli.app import tour as module

        out, _ = made
        fresh = module._prepare_folder(out)
        assert [path.name for path in fresh.iterdir()] == ["tour.json"]
        assert (out.with_name("tour.previous") / "results.json").is_file()
        fresh.joinpath("tour.json").unlink()
        fresh.rmdir()
        out.with_name("tour.previous").rename(out)


def test_a_cell_that_fails_is_named(tmp_path, no_owner):
    with pytest.raises(EtabliError, match=r"00_machine: .*UnknownModel.*no folder or config.json"):
        tour(tmp_path / "t", model="./nowhere")
    assert (tmp_path / "t" / "00_machine.html").is_file()


def test_no_tour_while_a_run_owns_the_device(tmp_path, monkeypatch):
    from etabli.core import processes

    monkeypatch.setattr(processes, "device_owner", lambda: {"pid": 1, "run": "runs/other"})
    with pytest.raises(DeviceBusy, match="The tour can't begin: run 'other'"):
        tour(tmp_path / "t")
    assert not (tmp_path / "t").exists()

"""The table of a curation: orders, charts and selections against plain Python, and decisions about several rows."""

import base64
import errno
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import etabli
from etabli.app import cli
from etabli.core import json_lines
from etabli.core.contracts import DECISIONS
from etabli.core.errors import BadInput, NoSpace
from etabli.curation.decisions import Decisions
from etabli.curation.row_columns import RowColumns
from etabli.curation.session import curate
from etabli.curation.table import SORTS, STATUS, Table
from etabli.data.dataset import Dataset
from etabli.data.notes import escape_invisible
from etabli_widgets.markup import visible

ANSWERS = ["Oak.", "oak.", "The oak stands by the harbour.", "A lamp.", "It rains, and it will rain tomorrow."]
FILTERS = [{"filter": "exact"}, {"filter": "length", "least": 3, "unit": "words"}]


def rows_of(count):
    """Rows of three sources, some of them copies, some too short."""
    for number in range(count):
        question, answer = f"What is number {number % 17}?", ANSWERS[number % 5]
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        yield {"id": f"r{number}", "messages": turns, "source": f"s{number % 3}"}


@pytest.fixture
def desk(tmp_path):
    Dataset(list(rows_of(60))).save(tmp_path / "rows")
    return curate(tmp_path / "rows", FILTERS, author="ann")


def keys_of(lines, full_answers):
    """How plain Python would sort the lines by each column."""
    return {
        "row": lambda line: line["at"],
        "length": lambda line: line["length"],
        "finding": lambda line: (not line["found"], line["found"]),
        "source": lambda line: line["source"],
        "status": lambda line: STATUS.index(line["status"]),
        "question": lambda line: line["asked"].casefold(),
        "answer": lambda line: full_answers[line["at"]].casefold(),
    }


@pytest.mark.parametrize("descending", [False, True])
def test_every_order_is_that_of_a_stable_sort(desk, descending):
    table = Table(desk)
    lines = table.lines(0, 60)
    keys = keys_of(lines, desk.features.answers)
    assert {*keys, "likeness"} == set(SORTS)
    for name, key in keys.items():
        table.select(sort=name, descending=descending)
        assert table.lines(0, 60) == sorted(lines, key=key, reverse=descending), name
    table.select(sort="likeness", descending=True)
    has_copy = ["exact" in line["found"] for line in table.lines(0, 60)]
    assert has_copy == sorted(has_copy, reverse=True) and any(has_copy)


@pytest.mark.parametrize(
    "text", ["می\u200cخواهم", "क्\u200dष", "👩\u200d👩\u200d👧", "pay\u200bpal", "a\u202eb", "a\u200db", "سورة \u06dd"]
)
def test_a_cell_shows_a_text_as_the_detail_beside_it_does(text, tmp_path):
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": f"{text} {text}"}]
    Dataset([{"id": "r0", "messages": turns}]).save(tmp_path / "rows")
    [line] = Table(curate(tmp_path / "rows", FILTERS[:1])).lines(0, 1)
    assert [line["asked"], line["answer"]] == [visible(text), visible(f"{text} {text}")]


def test_every_source_is_chosen_by_its_name_or_a_part_and_a_row_without_one_has_none(tmp_path):
    rows = list(rows_of(120))
    for number, row in enumerate(rows):
        row["source"] = [None, "", "Forum 1", f"Forum {number}"][number % 4]
    Dataset(rows).save(tmp_path / "rows")
    table = Table(curate(tmp_path / "rows", FILTERS[:1]))
    sources = Counter(line["source"] or "no source" for line in table.lines(0, 120))
    assert table.source_count == len(sources) == 32 and table.facets()["source"] == sources
    for name, count in sources.items():
        assert table.select(source=name) == count, name
    assert table.select(source="FORUM") == 60 and table.select(source="None") == 0
    labels = {label for chart in (table.histograms()["source"],) for label in chart["labels"]}
    assert "no source" in labels and not {"None", ""} & labels


WRONG_FORM = re.compile(r"\b1 (\w+ )?(rows|tokens|files|findings|decisions|pairs|questions|chars|characters|words)\b")


def test_one_row_is_counted_as_one_everywhere(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("one.jsonl").write_text(json.dumps({**next(rows_of(1)), "licence": "cc-by-nc-4.0"}))
    Path("none.jsonl").write_text(json.dumps(next(rows_of(1))))
    recipe = Path("recipe.yaml")
    recipe.write_text("data: data\nfilters: [{filter: exact}]\n")
    for words in (
        "data read one.jsonl --out data",
        "data check one.jsonl",
        "data check none.jsonl",
        "data rows recipe.yaml",
        "data prepare recipe.yaml --out kept",
    ):
        cli.run_command(words.split(), False)
    texts = [capsys.readouterr().out]
    report = etabli.check("none.jsonl")
    texts += [str(report.show().html()), str(report.show().look("licence-unknown"))]
    desk = curate("data", FILTERS, author="ann")
    table = desk.table()
    table.mark("add", rows=[0])
    table.decide_marked("drop")
    table.apply()
    texts += [repr(desk), repr(table), str(table.html()), table._describe_filtering()]
    for text in texts:
        assert "1 row" in text and not WRONG_FORM.search(text), WRONG_FORM.search(text)
    [row] = report.show().look("licence-unknown")
    assert row["place"] == "the file · licence" and "licence" not in row["why"].split(" · ")


def test_lines_excerpts_and_widgets_know_the_same_signs():
    for code in [*range(0xD800), *range(0xE000, 0x10000)]:
        if chr(code) not in "\n\r\t":
            assert escape_invisible(chr(code)) == visible(chr(code)), hex(code)
    assert escape_invisible("a\n\r\n\tb") == r"a\n\r\n\tb"


def test_charts_count_all_rows_and_those_shown(desk):
    table = Table(desk)
    every = table.lines(0, 60)
    table.select(source="s1", search="OAK")
    part, charts = table.lines(0, 60), table.histograms()
    for column, values in {
        "status": lambda line: [line["status"]],
        "finding": lambda line: line["found"] or ["nothing"],
        "source": lambda line: [line["source"]],
    }.items():
        chart = charts[column]
        assert dict(zip(chart["labels"], chart["counts"])) == Counter(v for line in every for v in values(line))
        shown = {name: count for name, count in zip(chart["labels"], chart["shown"]) if count}
        assert shown == Counter(value for line in part for value in values(line))
        assert chart["counts"] == sorted(chart["counts"], reverse=True)
    for column in ("row", "length", "question", "answer"):
        assert sum(charts[column]["counts"]) == 60 and sum(charts[column]["shown"]) == len(part) > 0
        assert len(charts[column]["edges"]) == len(charts[column]["counts"]) + 1
    edges = charts["length"]["edges"]
    counts = np.histogram([line["length"] for line in every], [*edges[:-1], edges[-1] + 1])[0]
    assert charts["length"]["counts"] == counts.tolist()


def test_a_chart_has_few_categories_and_a_last_bar_for_what_is_far_away():
    texts = ["x" * (5 if number else 90_000) for number in range(500)]
    names = [f"s{number % 40}" for number in range(500)]
    charts = RowColumns(texts, texts, texts, [[]] * 500, names, [-1.0] * 500).charts(np.arange(500))
    assert len(charts["source"]["labels"]) == 6 and charts["source"]["labels"][-1] == "others"
    assert sum(charts["source"]["counts"]) == 500
    assert charts["length"]["edges"][-1] == 90_000 and sum(charts["length"]["counts"]) == 500
    empty = RowColumns([], [], [], [], [], []).charts(np.arange(0))
    assert sum(empty["length"]["counts"]) == 0 and empty["source"]["labels"] == []


@settings(max_examples=60, deadline=None)
@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from(["replace", "add", "remove"]),
            st.integers(-3, 70),
            st.integers(-3, 70),
            st.lists(st.integers(0, 59), max_size=4),
        ),
        max_size=8,
    )
)
def test_a_selection_is_a_set_of_rows(marked_table, changes):
    table, expected = marked_table, set()
    table.mark("replace")
    places = [line["at"] for line in table.lines(0, 60)]
    for do, start, stop, rows in changes:
        chosen = {*places[max(0, start) : max(0, stop)], *rows}
        expected = expected - chosen if do == "remove" else chosen | (expected if do == "add" else set())
        assert table.mark(do, start, stop, rows) == len(expected)
    bits = np.unpackbits(np.frombuffer(base64.b64decode(table.marks.packed()), np.uint8), bitorder="little")
    assert set(np.flatnonzero(bits).tolist()) == expected
    assert table.count_marked() == len(expected & set(places))


@pytest.fixture(scope="module")
def marked_table(tmp_path_factory):
    """A table sorted by length, of two sources of three."""
    folder = tmp_path_factory.mktemp("marked") / "rows"
    Dataset(list(rows_of(60))).save(folder)
    table = Table(curate(folder, FILTERS, author="ann"))
    table.select(sort="length", search="oak")
    return table


@pytest.mark.parametrize("rows", [[60], [-1], [10**12]])
def test_rows_that_there_are_not_are_refused_and_nothing_changes(desk, rows):
    table = Table(desk)
    table.mark("add", rows=[3])
    with pytest.raises(BadInput, match="Rows 0 to 59"):
        table.mark("replace", rows=rows)
    with pytest.raises(BadInput, match="not by 'flip'"):
        table.mark("flip", rows=[1])
    assert table.marks.rows.tolist() == [3]


def test_several_rows_are_decided_together_and_undone_together(desk, tmp_path):
    table = Table(desk)
    table.decide("keep", "r1", "mine")
    before = {line["id"]: line["status"] for line in table.lines(0, 60)}
    table.mark("add", rows=[0, 1, 2, 20])
    assert table.decide_marked("drop") == 4 and len(table.marks) == 0
    standing = Decisions(tmp_path / "rows" / DECISIONS).standing()
    assert {name: one["do"] for name, one in standing.items()} == dict.fromkeys(["r0", "r1", "r2", "r20"], "drop")
    assert standing["r0"]["why"] == ", ".join(table.line(0)["found"]) != ""
    assert table.statuses()["dropped"] == 4
    table.decide("keep", "r30")  # a single one after it goes first
    assert table.undo_batch() == ["r30"]
    assert sorted(table.undo_batch()) == ["r0", "r1", "r2", "r20"]
    assert {line["id"]: line["status"] for line in table.lines(0, 60)} == before
    assert Decisions(tmp_path / "rows" / DECISIONS).standing()["r1"]["why"] == "mine"
    assert table.undo()["id"] == "r1" and table.undo() is None and table.undo_batch() == []


def test_on_a_full_disk_no_row_of_several_is_decided_and_all_stay_selected(desk, tmp_path, monkeypatch):
    table = Table(desk)
    table.decide("keep", "r9")
    journal = tmp_path / "rows" / DECISIONS
    before = journal.read_bytes()
    table.mark("add", start=0, stop=40)

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(json_lines.os, "fsync", full)
        with pytest.raises(NoSpace):
            table.decide_marked("drop")
    assert journal.read_bytes() == before and len(table.marks) == 40 and table.statuses().get("dropped") is None
    assert table.decide_marked("drop") == 40 and len(Decisions(journal).standing()) == 40


def test_a_sample_of_rows_is_embedded_alone_and_as_among_all(desk):
    features, rows = desk.features, np.array([3, 8, 21])
    alone = features.vectors_of(rows)
    assert "vectors" not in vars(features)
    assert features.vectors_of(rows) is alone
    np.testing.assert_allclose(alone, features.vectors[rows], atol=1e-6)

"""The training film in Chromium: its answers say of which step they are, and nothing a reader left in it is lost."""

import pytest
from bridged import Bench
from widget_samples import SAMPLES

from etabli_widgets import RunMonitor, TrainingFilm

pytestmark = pytest.mark.e2e


@pytest.fixture
def film(bench, tmp_path):
    """The film's widget, and where it stands in the page."""
    widget = SAMPLES["TrainingFilm"](tmp_path)
    return widget, bench.page.locator(f"#{bench.mount(widget, 'TrainingFilm')}")


def test_each_answer_says_its_step_and_a_cut_one_that_it_is_cut(bench, film):
    widget, shown = film
    caption, first = shown.locator(".etabli-caption"), shown.locator(".etabli-first-frame small")
    assert [caption.inner_text(), first.inner_text()] == ["answer at step 30 cut", "answer at step 0 cut"]
    widget.show(40)
    bench.sync(shown.get_attribute("id"))
    assert caption.inner_text() == "answer at step 40" and caption.locator(".etabli-cut").count() == 0
    assert str(widget.html()).count("etabli-cut") == 4, "in the twin too"


def test_the_monitor_marks_the_answer_that_was_cut(bench, tmp_path):
    widget = SAMPLES["RunMonitor"](tmp_path)
    answers = bench.page.locator(f"#{bench.mount(widget, 'RunMonitor')} .etabli-samples li")
    marks = [answer.locator(".etabli-cut").count() for answer in answers.all()]
    assert marks == [0, 0, 1] and answers.last.locator("code").inner_text() == "On, on, on"
    whole = RunMonitor([{"kind": "sample", "t": 1.0, "step": 1, "probe": 0, "text": "x", "cut": False}])
    cut = RunMonitor([{"kind": "sample", "t": 1.0, "step": 1, "probe": 0, "text": "x", "cut": True}])
    assert ["etabli-cut" in str(monitor.html()) for monitor in (whole, cut)] == [False, True]


def test_the_token_that_is_read_stays_while_the_film_grows(bench, film):
    widget, shown = film
    shown.locator(".etabli-strip").focus()
    for _ in range(3):
        bench.page.keyboard.press("ArrowRight")
    reading = shown.locator(".etabli-told")
    before = reading.inner_text()
    assert before.startswith('" word3"')
    strip = widget.film["strips"][0]
    frames = [*strip["frames"], {**strip["frames"][-1], "step": 50}]
    widget.feed({**widget.film, "steps": 50, "strips": [{**strip, "frames": frames}]})
    bench.sync(shown.get_attribute("id"))
    assert shown.get_by_role("slider").get_attribute("aria-valuemax") == "50", "the new frame is in the page"
    assert reading.inner_text() == before and shown.locator("[data-here]").inner_text() == " word3"
    assert bench.page.evaluate("document.activeElement.className") == "etabli-strip"
    widget.show(20)
    bench.sync(shown.get_attribute("id"))
    assert reading.inner_text() == "", "another answer, other tokens"


def test_the_reason_of_a_pin_stays_until_the_pin_is_saved(bench, film):
    widget, shown = film
    reason, pin = shown.get_by_label("Why it is pinned"), shown.get_by_role("button", name="Pin (p)")
    reason.fill("now it is JSON")
    widget._pin = lambda *fields: 1 / 0
    pin.click()
    shown.get_by_text("ZeroDivisionError").wait_for()
    assert reason.input_value() == "now it is JSON"
    pins = [*widget.film["pins"]]

    def keep(probe, step, why, on):
        pins.append({"probe": probe, "step": step, "why": why, "by": "ann", "id": "2"})
        return [*pins]

    widget._pin = keep
    pin.click()
    shown.get_by_text("step 30: now it is JSON (ann)").wait_for()
    assert reason.input_value() == "" and [one["step"] for one in pins] == [20, 30]


def film_of(steps, total, state="running"):
    frames = [
        {"step": step, "text": f"answer {step}", "cut": False, "tokens": None, "mean_kl": step / total}
        for step in steps
    ]
    strips = [{"probe": "Hello", "frames": frames, "changed": None, "jump": None}]
    return {"version": 1, "run": "long", "state": state, "steps": total, "said": [], "strips": strips, "pins": []}


LONG_RUN = [0, 1, 2, 4, 8, 16, 32, *range(50, 1001, 50)]


@pytest.mark.parametrize("width", [1280, 600])
def test_every_frame_of_a_long_run_can_be_hit(browser, width):
    bench = Bench(browser, width=width)
    widget = TrainingFilm(film_of(LONG_RUN, 1000, "completed"))
    shown = bench.page.locator(f"#{bench.mount(widget, 'TrainingFilm')}")
    caption, cells = shown.locator(".etabli-caption"), shown.locator(".etabli-cell")
    assert cells.count() == len(LONG_RUN)
    for place, step in enumerate(LONG_RUN):
        box = cells.nth(place).bounding_box()
        assert box["width"] >= 8
        for x in (box["x"] + 1, box["x"] + box["width"] - 1):
            bench.page.mouse.click(x, box["y"] + box["height"] / 2)
            assert caption.inner_text() == f"answer at step {step}"
        assert "etabli-here" in cells.nth(place).get_attribute("class")
    first, fourth = cells.first.bounding_box(), cells.nth(3).bounding_box()
    bench.page.mouse.move(first["x"] + 4, first["y"] + 5)
    bench.page.mouse.down()
    bench.page.mouse.move(fourth["x"] + 4, first["y"] - 60)  # a drag stays in the row that it began in
    bench.page.mouse.up()
    assert caption.inner_text() == "answer at step 4"
    chart = shown.get_by_role("slider").bounding_box()
    bench.page.mouse.click(chart["x"] + 34 + (chart["width"] - 46) * 0.53, chart["y"] + 60)
    assert caption.inner_text() == "answer at step 550", "the nearest: half-way lies at 525"
    assert not bench.problems
    bench.close()


def test_the_axis_of_a_film_grows_with_its_run(bench):
    widget = TrainingFilm(film_of([0, 1, 2, 4], 1000))
    shown = bench.page.locator(f"#{bench.mount(widget, 'TrainingFilm')}")
    for steps, end in (([0, 1, 2, 4], 8), (LONG_RUN[:7], 32), (LONG_RUN[:8], 64), (LONG_RUN, 1000)):
        widget.feed(film_of(steps, 1000))
        bench.sync(shown.get_attribute("id"))
        chart = shown.get_by_role("slider")
        assert chart.get_attribute("aria-valuemax") == str(end)
        assert (f"steps 0 to {end} of 1000" in chart.text_content()) == (end < 1000)


OUTSIDE = """chart => [...chart.querySelectorAll("text")].filter(text => text.getBoundingClientRect().right >
  chart.getBoundingClientRect().right).map(text => text.textContent)"""


@pytest.mark.parametrize("width", [1280, 600, 360])
@pytest.mark.parametrize("total", [1000, 50_000, 1_000_000])
def test_no_label_of_an_axis_of_steps_is_cut(browser, total, width):
    bench = Bench(browser, width=width)
    steps = [{"kind": "step", "t": 1.0, "step": step, "loss": 2.0} for step in (1, total)]
    monitor = RunMonitor([{"kind": "start", "t": 0.0, "steps": total}, *steps])
    for name, widget in (("TrainingFilm", TrainingFilm(film_of([0, total], total))), ("RunMonitor", monitor)):
        shown = bench.page.locator(f"#{bench.mount(widget, name)} svg")
        assert shown.evaluate(OUTSIDE) == []
        assert str(total) in shown.text_content() or width == 360, "the last label is there, where there is place"
    bench.close()

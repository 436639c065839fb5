"""The training film in Chromium: its answers say of which step they are, and nothing a reader left in it is lost."""

import pytest
from bridged import Bench
from widget_samples import SAMPLES

from etabli_widgets import RunMonitor

pytestmark = pytest.mark.e2e


@pytest.fixture
def bench(browser):
    bench = Bench(browser)
    yield bench
    assert not bench.problems and not bench.asked
    bench.close()


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

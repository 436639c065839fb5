"""The run monitor's chart in Chromium: its line for reading, logarithmic axis, an earlier run, marks, many events."""

import itertools

import pytest
from widget_samples import run_events

import etabli_widgets
from etabli_widgets.run_monitor import group_size

pytestmark = pytest.mark.e2e


def test_pointer_and_keys_read_the_values_of_a_step(bench):
    events = run_events()
    at = bench.mount(etabli_widgets.RunMonitor(events, name="first"), "RunMonitor")
    chart, line = bench.page.locator(f"#{at} svg.etabli-chart"), bench.page.locator(f"#{at} .etabli-readout")
    chart.focus()
    bench.page.keyboard.press("Home")
    assert "step 0 · held-out loss 4.10" in line.inner_text()
    for _ in range(4):
        bench.page.keyboard.press("ArrowRight")
    loss = next(event["loss"] for event in events if event.get("step") == 4 and event["kind"] == "step")
    assert f"step 4 · loss {loss:.3g}" in line.inner_text()
    assert chart.get_attribute("aria-valuetext") == line.inner_text()
    box = chart.bounding_box()
    bench.page.mouse.move(box["x"] + 48 + (box["width"] - 60) * 20 / 64, box["y"] + 60)
    assert line.inner_text().startswith("step 20 ·") and "checkpoint" in line.inner_text()
    bench.page.mouse.move(0, 0)
    assert line.inner_text().startswith("step 60 ·")  # the newest again


def x_of(bench, at, selector):
    """The middle of a part of the chart, as a share of the axis' width."""
    chart = bench.page.locator(f"#{at} svg.etabli-chart").bounding_box()
    part = bench.page.locator(f"#{at} {selector}").bounding_box()
    return (part["x"] + part["width"] / 2 - chart["x"] - 48) / (chart["width"] - 60)


def test_the_first_step_is_a_dot_on_an_axis_that_grows_with_the_run(bench):
    start = {"kind": "start", "t": 0.0, "steps": 400}
    steps = [{"kind": "step", "t": float(n), "step": n, "loss": 4.0 / n, "lr": 0.0} for n in range(1, 401)]
    widget = etabli_widgets.RunMonitor([start, steps[0]])
    at = bench.mount(widget, "RunMonitor")
    text = bench.page.locator(f"#{at} svg.etabli-chart")
    assert x_of(bench, at, "circle.etabli-loss") == pytest.approx(1 / 8, abs=0.01)
    assert "steps 0 to 8 of 400; the axis grows with the run" in text.text_content()
    assert bench.page.locator(f"#{at} .etabli-readout").inner_text() == "step 1 · loss 4.00 · learning rate 0"
    for newest, end in ((8, 8), (9, 16), (250, 256), (257, 400), (400, 400)):
        widget.feed([start, *steps[:newest]])
        bench.sync(at)
        assert bench.page.locator(f"#{at} circle.etabli-loss").count() == 0
        assert x_of(bench, at, ".etabli-cursor") == pytest.approx(newest / end, abs=0.01)
        assert ("of 400" in text.text_content()) == (end < 400)


def test_an_earlier_run_that_went_further_is_whole_when_this_one_has_ended(bench):
    earlier = ("zero", [{"kind": "step", "t": 1.0, "step": n, "loss": 3.0} for n in range(1, 301)])
    steps = [{"kind": "step", "t": float(n), "step": n, "loss": 4.0 / n} for n in range(1, 11)]
    widget = etabli_widgets.RunMonitor(steps, earlier=earlier)
    at = bench.mount(widget, "RunMonitor")
    line = bench.page.locator(f"#{at} path.etabli-earlier")
    assert line.get_attribute("d").count("L") == 15  # as far as the axis goes: 16 steps
    widget.feed([*steps, {"kind": "end", "t": 11.0, "state": "stopped"}])
    bench.sync(at)
    assert line.get_attribute("d").count("L") == 299


def test_a_logarithmic_axis_gives_equal_ratios_equal_heights(bench):
    steps = [{"kind": "step", "t": float(n), "step": n, "loss": 10.0 ** (3 - n)} for n in (1, 2, 3, 4)]
    at = bench.mount(etabli_widgets.RunMonitor(steps), "RunMonitor")
    bench.page.get_by_role("button", name="Logarithmic").click()
    drawn = bench.page.locator(f"#{at} path.etabli-loss").get_attribute("d")
    heights = [float(point.split(",")[1]) for point in drawn[1:].split("L")]
    gaps = [below - above for above, below in itertools.pairwise(heights)]
    assert max(gaps) - min(gaps) < 0.3 and gaps[0] > 20


def test_an_earlier_run_and_what_happened_are_shown(bench):
    earlier = ("zero<b>", [{"kind": "step", "t": 1.0, "step": n, "loss": 3.0} for n in range(1, 300)])
    log = [*run_events(), {"kind": "resume", "t": 99.0, "step": 60}]
    at = bench.mount(etabli_widgets.RunMonitor(log, earlier=earlier), "RunMonitor")
    assert bench.page.locator(f"#{at} path.etabli-earlier").count() == 1
    assert "steps 0 to 64 of 120" in bench.page.locator(f"#{at} svg.etabli-chart").text_content()
    assert "loss of the earlier run zero<b>" in bench.page.locator(f"#{at} .etabli-legend").inner_text()
    marks = bench.page.locator(f"#{at} .etabli-mark title").all_text_contents()
    assert marks[:2] == ["checkpoint after step 20", "retry after step 33: in 2 parts"], marks
    assert marks[-1] == "resumed after step 60"


def test_50000_steps_block_the_page_for_no_more_than_50_ms(bench):
    events = [
        {"kind": "step", "t": n * 0.1, "step": n, "loss": 4 / n**0.3, "lr": 1e-4, "grad_norm": 1.0}
        for n in range(1, 50_001)
    ]
    widget = etabli_widgets.RunMonitor(events[:1])
    at = bench.mount(widget, "RunMonitor")
    bench.page.evaluate(
        """() => { window.longest = 0; new PerformanceObserver((list) => { for (const entry of list.getEntries())
        window.longest = Math.max(window.longest, entry.duration); }).observe({ type: "longtask" }); }"""
    )
    for count in range(5_000, 50_001, 5_000):
        widget.feed(events[:count])
        bench.sync(at)
    bench.page.wait_for_timeout(300)
    assert bench.page.locator(f"#{at} path.etabli-loss").get_attribute("d").count("L") > 300
    assert bench.page.evaluate("window.longest") <= 50


def steps_with_a_spike(count=1_000, spike=500):
    steps = [{"kind": "start", "t": 0.0, "steps": count}]
    for step in range(1, count + 1):
        is_spike = step == spike
        numbers = {"loss": 60.0 if is_spike else 2 + step % 7 / 10, "grad_norm": 900.0 if is_spike else 1.5, "lr": 1e-4}
        steps.append({"kind": "step", "t": float(step), "step": step, **numbers})
    return steps


def test_a_spike_of_one_step_is_drawn_named_and_read_in_a_long_run(bench):
    widget = etabli_widgets.RunMonitor(steps_with_a_spike(), earlier=("zero", steps_with_a_spike(900, 300)))
    at = bench.mount(widget, "RunMonitor")
    shown = bench.page.locator(f"#{at}")
    size = group_size(1_000)
    legend = shown.locator(".etabli-legend").inner_text()
    assert f"loss, lowest and highest of each {size} steps" in legend and "loss of each step" not in legend
    assert f"mean of {8 * size} steps" in legend
    assert f"earlier run zero, lowest and highest of each {group_size(900)} steps" in legend
    assert f"loss, lowest and highest of each {size} steps" in widget.html(), "in the twin as well"
    titles = shown.locator(".etabli-title").all_text_contents()
    assert titles[1].startswith(f"gradient norm, lowest and highest of each {size} steps")
    chart, line = shown.locator("svg.etabli-chart"), shown.locator(".etabli-readout")
    box = chart.bounding_box()
    bench.page.mouse.move(box["x"] + 48 + (box["width"] - 60) / 2, box["y"] + 60)
    assert "step 500 · loss 60.0 ·" in line.inner_text() and "gradient norm 900" in line.inner_text()
    for name in ("etabli-loss", "etabli-norm", "etabli-earlier"):
        drawn = shown.locator(f"path.{name}")
        assert drawn.bounding_box()["height"] > (100 if name != "etabli-norm" else 40), f"{name} is flat"
    widget.feed(steps_with_a_spike()[:40])
    bench.sync(at)
    assert "loss of each step" in shown.locator(".etabli-legend").inner_text()
    assert "lowest" not in shown.locator("svg.etabli-chart").text_content()


def test_a_value_of_another_step_names_it_and_the_legend_names_only_lines_that_are_there(bench):
    def steps(count):
        return [
            {"kind": "step", "t": n, "step": n, "loss": 2.0 if n <= 50 else float("nan")} for n in range(1, count + 1)
        ]

    start = {"kind": "start", "t": 0.0, "steps": 120}
    widget = etabli_widgets.RunMonitor([start, *steps(60)])
    at = bench.mount(widget, "RunMonitor")
    shown = bench.page.locator(f"#{at}")
    figures, legend = shown.locator(".etabli-figures"), shown.locator(".etabli-legend")
    loss = figures.locator(".etabli-figure").nth(1)
    assert loss.inner_text().split() == ["2.000", "loss", "at", "step", "50"]
    assert legend.inner_text().split("\n") == ["loss of each step", "mean of 8 steps"]
    twin = widget.html()
    assert "step 60 of 120 · loss 2.000 at step 50" in twin and "held-out" not in twin
    widget.feed([start, *steps(50), {"kind": "eval", "t": 51.0, "step": 50, "loss": 2.5}])
    bench.sync(at)
    assert loss.inner_text().split() == ["2.000", "loss"] and "loss on held-out rows" in legend.inner_text()
    assert "loss 2.000 · held-out loss 2.500 at step 50" in widget.html() and "etabli-held-out" in widget.html()
    widget.feed([start, {"kind": "eval", "t": 1.0, "step": 0, "loss": 2.5}])
    bench.sync(at)
    assert legend.inner_text() == "loss on held-out rows" and 'class="etabli-loss"' not in widget.html()

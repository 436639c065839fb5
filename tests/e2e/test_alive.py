"""An hour of events in fast forward: memory and elements stay as they are; at most 4 updates a second."""

import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from bridged import Bench, _as_json
from widget_samples import LONG, SAMPLES

import etabli_widgets
from conftest import RESULTS
from etabli.runs import monitor as followed

UPDATES = 3600 * 4 if RESULTS else 600  # an hour of four a second
REDRAWS = 2000 if RESULTS else 150  # of each other widget
GROWTH = 1.10  # the most that memory may grow from the middle to the end, beside 0.3 MB
SLACK = 300_000  # bytes
KERNEL_SLACK = 10_000_000  # bytes of a process, in which all else goes on
EVALUATIONS = 30  # of the run, and checkpoints, and answers to two prompts: up to 5 elements of the chart each
REDRAW = """async ([at, count]) => {
  const { take, model } = window.models[at];
  const state = Object.fromEntries(window.traits[at].map((trait) => [trait, model.get(trait)]));
  for (let number = 0; number < count; number++) {
    take({ state: structuredClone(state), messages: [] });
    if (number % 20 === 0) await new Promise(requestAnimationFrame);
  }
}"""


def used(bench: Bench, protocol: Any) -> tuple[int, int]:
    """Return the bytes that the page's scripts hold after a collection, and the nodes there are."""
    bench.page.evaluate("() => new Promise(requestAnimationFrame)")
    protocol.send("HeapProfiler.collectGarbage")
    nodes = bench.page.evaluate("() => document.getElementsByTagName('*').length")
    return int(protocol.send("Runtime.getHeapUsage")["usedSize"]), nodes


def hour_of_events(count: int) -> list[dict[str, Any]]:
    """Return a run's events: four a second, a step each, and now and then an evaluation, samples, a checkpoint."""
    events: list[dict[str, Any]] = [{"kind": "start", "t": 0.0, "steps": count, "probes": [LONG, "Lights off"]}]
    for step in range(1, count + 1):
        numbers = {"loss": 4 / step**0.3, "lr": 1e-4, "grad_norm": 1.0, "tokens_per_s": 281.0, "memory_bytes": 1e9}
        events.append({"kind": "step", "t": step / 4, "step": step, **numbers})
        if step % (count // EVALUATIONS) == 0:
            events += [{"kind": "sample", "t": step / 4, "step": step, "probe": n, "text": LONG * 3} for n in (0, 1)]
            events.append({"kind": "eval", "t": step / 4, "step": step, "loss": 2.0})
            events.append({"kind": "checkpoint", "t": step / 4, "step": step, "path": "x"})
    return events


def test_an_hour_of_a_run_leaves_page_and_kernel_as_they_are(bench: Bench, count: Any) -> None:
    events = hour_of_events(UPDATES)
    widget = etabli_widgets.RunMonitor(events[:1], name="hour")
    at = bench.mount(widget, "RunMonitor")
    protocol = bench.context.new_cdp_session(bench.page)
    places = [len(events) * part // UPDATES for part in range(1, UPDATES + 1)]
    seen = {}
    for number, place in enumerate(places, 1):
        widget.feed(events[:place])
        bench.sync(at)
        if number in (UPDATES // 2, UPDATES):
            memory = psutil.Process().memory_info().rss
            seen[number] = (*used(bench, protocol), memory, len(json.dumps(_as_json(widget))))
    (heap, nodes, python, sent), (heap_end, nodes_end, python_end, sent_end) = seen.values()
    count(
        "an hour of a run",
        {
            "updates": UPDATES,
            "heap_bytes": [heap, heap_end],
            "nodes": [nodes, nodes_end],
            "kernel": [python, python_end],
        },
    )
    assert heap_end <= GROWTH * heap + SLACK
    assert nodes_end <= nodes + EVALUATIONS // 2 * 5
    assert python_end <= GROWTH * python + KERNEL_SLACK
    assert sent_end <= GROWTH * sent + 5000, "what is sent grows with the run"


@pytest.mark.parametrize("name", SAMPLES)
def test_a_widget_that_is_drawn_again_and_again_leaves_nothing(
    bench: Bench, tmp_path: Path, name: str, count: Any
) -> None:
    widget = SAMPLES[name](tmp_path)
    at = bench.mount(widget, name)
    traits = [trait for trait in _as_json(widget) if trait not in ("comm_id", "version", "pong")]
    bench.page.evaluate("([at, traits]) => { window.traits = { [at]: traits }; }", [at, traits])
    protocol = bench.context.new_cdp_session(bench.page)
    bench.page.evaluate(REDRAW, [at, REDRAWS // 2])
    heap, nodes = used(bench, protocol)
    bench.page.evaluate(REDRAW, [at, REDRAWS // 2])
    heap_end, nodes_end = used(bench, protocol)
    count(f"redraws of {name}", {"times": REDRAWS, "heap_bytes": [heap, heap_end], "nodes": [nodes, nodes_end]})
    assert nodes_end == nodes
    assert heap_end <= GROWTH * heap + SLACK


def test_at_most_four_updates_a_second_go_out(count: Any) -> None:
    """The messages on the wire, while fifty events a second are written."""
    events, seconds, sent = hour_of_events(1000), 5.0, []
    written = [events[0]]
    run = SimpleNamespace(name="fast", state="running", why="", stop=None, resume=None)
    run.events, run.notes = lambda: list(written), lambda: []
    widget = followed.follow(run, run)
    widget.comm.publish_msg = lambda kind, *rest, **more: sent.append(kind)
    over = threading.Event()
    start = time.monotonic()
    for event in events[1:]:
        written.append(event)
        if time.monotonic() - start >= seconds:
            break
        over.wait(0.02)
    run.state = "completed"
    count("updates of a run", {"seconds": seconds, "events": len(written), "messages": len(sent)})
    assert len(written) > 100 and 2 * seconds < len(sent) <= 4 * seconds + 1

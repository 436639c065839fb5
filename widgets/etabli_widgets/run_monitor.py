"""``RunMonitor``: the progress of a run, from its events, with buttons to stop and resume it."""

from collections.abc import Callable, Sequence
from math import inf
from statistics import fmean
from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, style
from etabli_widgets.markup import Markup, answer, element, fragment, notes, table

MOST_POINTS = 400
MEAN = 8  # losses, or groups of losses, of which the running mean is taken
MOST_MARKS = 200
MOST_SAMPLE_STEPS = 3  # of which the page shows the answers
MARKS = {"checkpoint": "checkpoint", "retry": "retry", "resume": "resumed"}  # kind of event -> what the chart calls it
WIDTH, HEIGHT, EDGE = 560, 180, 34
END_STATES = ("completed", "stopped", "failed", "lost")
# What a run does before its first step, in the order of its log, and the events after which it does so.
START_PHASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("reading the rows, loading the model", ()),
    ("preparing the first step", ("memory load",)),
    ("trying out the first step", ("start", "memory forward", "memory backward")),
    ("trying out the held-out rows", ("memory optimizer",)),
    ("measuring the held-out loss", ("memory evaluation",)),
    ("going on from the checkpoint", ("resume",)),
    ("answering the sample prompts", ("eval", "sample")),
)
Point = Sequence[Any]  # [step, loss or None]
Points = Sequence[Point]


def events_of_kind(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return the events of one kind."""
    return [event for event in events if event.get("kind") == kind]


def view(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the monitor's traits for a list of events."""
    steps, start = events_of_kind(events, "step"), (events_of_kind(events, "start") or [{}])[-1]
    evaluations = events_of_kind(events, "eval")
    now = steps[-1] if steps else {}
    end = (events_of_kind(events, "end") or [{}])[-1]
    prompts = start.get("probes") or []
    return {
        "total": start.get("steps") or 0,
        "step": now.get("step", 0),
        "losses": points_of(steps, "loss"),
        "held_out": points_of(evaluations, "loss"),
        "means": running_means(steps),
        "group_sizes": {"losses": group_size(len(steps)), "held_out": group_size(len(evaluations))},
        "norms": points_of(steps, "grad_norm"),
        "rates": points_of(steps, "lr"),
        "marks": marks(events),
        "speed": now.get("tokens_per_s") or 0.0,
        "memory": now.get("memory_bytes") or 0.0,
        "seconds_left": seconds_left(steps, start.get("steps")),
        "samples": [sample(event, prompts) for event in newest_samples(events)],
        "state": end.get("state") or ("running" if steps else "starting"),
        "phase": starting_phase(events),
        "why": end.get("why", ""),
    }


def starting_phase(events: list[dict[str, Any]]) -> str:
    """Return what a run is doing before its first step, or before it goes on: the furthest phase that it reached.

    A try of the first step that is repeated with a smaller batch writes earlier events again: that is no way back.
    """
    names = {_event_name(event) for event in events_of_newest_start(events)}
    reached = [number for number, (_, begun_by) in enumerate(START_PHASES) if names.intersection(begun_by)]
    return START_PHASES[max(reached, default=0)][0]


def _event_name(event: dict[str, Any]) -> str:
    kind = str(event.get("kind"))
    return f"memory {event.get('phase')}" if kind == "memory" else kind


def events_of_newest_start(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events since the newest process of the run began; one that was killed wrote no end."""
    over = [number for number, event in enumerate(events) if event.get("kind") in ("end", "step")]
    if not over:
        return events
    later = events[over[-1] + 1 :]
    begun = (number for number, event in enumerate(later) if _event_name(event) in ("memory load", "start"))
    return later[next(begun, len(later)) :]


def points_of(events: list[dict[str, Any]], field: str) -> list[list[Any]]:
    """Return [step, value of the field] of at most ``MOST_POINTS`` events; a value is None if not finite."""
    return [list(point) for point in thin([(event.get("step", 0), finite(event.get(field))) for event in events])]


def finite(value: object) -> float | None:
    """Return the value if it is a finite number of which means can be taken, else None."""
    return value if isinstance(value, int | float) and abs(value) < 1e300 else None


def marks(events: list[dict[str, Any]]) -> list[list[Any]]:
    """Return [step, kind, text] of what happened between the steps: checkpoints, retries, resumes. The newest only."""
    step, found = 0, []
    for event in events:
        step = event.get("step", step)
        if event.get("kind") in MARKS:
            found.append([step, MARKS[event["kind"]], str(event.get("what") or "")])
    return found[-MOST_MARKS:]


def newest_samples(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the sample events of the last ``MOST_SAMPLE_STEPS`` steps: with all, updates would grow with the run."""
    samples = events_of_kind(events, "sample")
    steps = list(dict.fromkeys(event.get("step", 0) for event in samples))[-MOST_SAMPLE_STEPS:]
    return [event for event in samples if event.get("step", 0) in steps]


def sample(event: dict[str, Any], prompts: list[str]) -> dict[str, Any]:
    """Return the answer to a sample prompt, with its prompt."""
    probe = event.get("probe", 0)
    prompt = prompts[probe] if isinstance(probe, int) and 0 <= probe < len(prompts) else str(probe)
    is_cut = bool(event.get("cut"))
    return {"step": event.get("step", 0), "prompt": prompt, "text": event.get("text", ""), "cut": is_cut}


def group_size(count: int) -> int:
    """Return of how many points each the lowest and the highest are kept; 1: all points are kept."""
    return 1 if count <= MOST_POINTS else -(-(count - 2) // (MOST_POINTS // 2 - 1))


def thin(points: list[Point]) -> list[Point]:
    """Return at most ``MOST_POINTS`` points: the first, the lowest and highest of each group, the last.

    So no spike is lost. A missing value counts as the lowest: the gap that it leaves in the line is kept.
    """
    size = group_size(len(points))
    if size == 1:
        return points
    inner = points[1:-1]
    groups = (inner[start : start + size] for start in range(0, len(inner), size))
    return [points[0], *(point for group in groups for point in _extremes(group)), points[-1]]


def _extremes(points: list[Point]) -> list[Point]:
    """Return the lowest and the highest point in their order; one point if all are equal."""
    values = [-inf if value is None else value for _, value in points]
    places = {values.index(min(values)), values.index(max(values))}
    return [points[place] for place in sorted(places)]


def running_means(steps: list[dict[str, Any]]) -> list[list[Any]]:
    """Return [step, mean of the ``MEAN`` newest losses]; of a long run, of the losses of ``MEAN`` groups.

    It is taken from all losses, not from the lowest and highest that are drawn. Empty for ``MEAN`` losses or fewer.
    """
    known = [(step.get("step", 0), loss) for step in steps if (loss := finite(step.get("loss"))) is not None]
    numbers, losses = [step for step, _ in known], [loss for _, loss in known]
    if len(known) <= MEAN:
        return []
    size = group_size(len(steps))
    ends = range((len(known) - 1) % size, len(known), size)
    return [[numbers[end], fmean(losses[max(0, end + 1 - MEAN * size) : end + 1])] for end in ends]


def seconds_left(steps: list[dict[str, Any]], total: int | None) -> float:
    """Estimate the seconds left from the time of the last 30 steps; 0 if it is unknown."""
    recent = steps[-30:]
    if not total or len(recent) < 2 or recent[-1]["step"] <= recent[0]["step"]:
        return 0.0
    seconds_per_step: float = (recent[-1]["t"] - recent[0]["t"]) / (recent[-1]["step"] - recent[0]["step"])
    remaining_steps: int = total - recent[-1]["step"]
    return max(0.0, seconds_per_step * remaining_steps)


class RunMonitor(Widget):
    """Live losses, gradient norm, learning rate, speed, memory, time left and sampled answers; Stop, Resume when over.

    ``RunMonitor(events=[...])`` shows a finished run with no process behind it; ``feed`` brings new events. ``stop``
    and ``resume`` are called when their buttons are pressed. ``earlier``: (name, events) of a run to lay under it.
    """

    _esm = script("run_monitor", "chart", "loss_chart")
    _css = style("run_monitor")

    name = traitlets.Unicode("run", help="The run's name").tag(sync=True)
    state = traitlets.Unicode("starting", help="starting, running, stopping, completed, ...").tag(sync=True)
    why = traitlets.Unicode("", help="Why it ended").tag(sync=True)
    phase = traitlets.Unicode("", help="What it does before its first step").tag(sync=True)
    step = traitlets.Int(0, help="Last step done").tag(sync=True)
    total = traitlets.Int(0, help="Steps in all, 0 while unknown").tag(sync=True)
    losses: "traitlets.List[Any]" = traitlets.List(help="[[step, loss], ...]").tag(sync=True)
    held_out: "traitlets.List[Any]" = traitlets.List(help="[[step, loss on held-out rows], ...]").tag(sync=True)
    means: "traitlets.List[Any]" = traitlets.List(help="[[step, running mean of the losses], ...]").tag(sync=True)
    group_sizes: "traitlets.Dict[str, int]" = traitlets.Dict(
        help="losses, held_out: of how many values each the lowest and highest are there; 1: all are"
    ).tag(sync=True)
    norms: "traitlets.List[Any]" = traitlets.List(help="[[step, gradient norm], ...]").tag(sync=True)
    rates: "traitlets.List[Any]" = traitlets.List(help="[[step, learning rate], ...]").tag(sync=True)
    marks: "traitlets.List[Any]" = traitlets.List(help="[[step, checkpoint|retry|resumed, text], ...]").tag(sync=True)
    earlier: "traitlets.Dict[str, Any]" = traitlets.Dict(
        help="name, losses, held_out, group_sizes of a run under it"
    ).tag(sync=True)
    speed = traitlets.Float(0.0, help="Tokens a second").tag(sync=True)
    memory = traitlets.Float(0.0, help="Peak memory in bytes").tag(sync=True)
    seconds_left = traitlets.Float(0.0, help="0 while unknown").tag(sync=True)
    samples: "traitlets.List[Any]" = traitlets.List(help="[{step, prompt, text, cut}, ...]").tag(sync=True)
    stoppable = traitlets.Bool(False, help="Is there anything to stop?").tag(sync=True)
    resumable = traitlets.Bool(False, help="Can a run that has ended be gone on with?").tag(sync=True)
    notes: "traitlets.List[Any]" = traitlets.List(help="Warnings, and whether a resumed run is the same run").tag(
        sync=True
    )

    def __init__(
        self,
        events: Sequence[dict[str, Any]] = (),
        stop: Callable[[], Any] | None = None,
        resume: Callable[[], Any] | None = None,
        earlier: tuple[str, list[dict[str, Any]]] | None = None,
        **traits: Any,
    ):
        super().__init__(stoppable=stop is not None, resumable=resume is not None, **traits)
        self._stop, self._resume = stop, resume
        if earlier:
            seen = view(earlier[1])
            self.earlier = {"name": earlier[0], **{key: seen[key] for key in ("losses", "held_out", "group_sizes")}}
        self.feed(list(events))

    def feed(
        self,
        events: list[dict[str, Any]],
        state: str | None = None,
        why: str | None = None,
        notes: list[str] | None = None,
    ) -> None:
        """Show these events. ``state``, ``why`` and ``notes`` replace what the events say."""
        values = view(events)
        replacements = {"state": state, "why": why, "notes": notes}
        values.update({key: value for key, value in replacements.items() if value is not None})
        with self.hold_sync():
            for trait, value in values.items():
                setattr(self, trait, value)

    @message()
    def on_stop(self, fields: dict[str, Any] | None = None) -> None:
        """Handle the Stop button; ``monitor.on_stop()`` does the same from code. A run that is over stays as it is."""
        if self._stop is not None and self.state not in END_STATES:
            self.state = "stopping"
            self._stop()

    @message()
    def on_resume(self, fields: dict[str, Any] | None = None) -> None:
        """Handle the Resume button, or ``monitor.on_resume()``: resume from the newest complete checkpoint."""
        if self._resume is not None:
            self.error = ""
            self._resume()

    def html(self) -> Markup:
        """Return state, figures, chart and the last answers as static HTML."""
        facts = [f"step {self.step} of {self.total or '?'}"]
        facts += [
            f"loss {loss:.3f}{'' if step == self.step else f' at step {step}'}" for step, loss in newest(self.losses)
        ]
        facts += [f"held-out loss {loss:.3f} at step {step}" for step, loss in newest(self.held_out)]
        facts += [f"{self.speed:.0f} tokens/s"] if self.speed else []
        facts += [f"{self.memory / 2**30:.2f} GiB"] if self.memory else []
        latest = [item for item in self.samples if item["step"] == self.samples[-1]["step"]]
        rows = [(item["step"], item["prompt"], answer(item["text"], item["cut"])) for item in latest]
        answers = table(("step", "probe", "answer"), rows) if rows else None
        reason = self.why or (self.phase if self.state == "starting" else "")
        why = f" ({reason})" if reason else ""
        head = element("p", element("b", self.name), f": {self.state}{why} · {' · '.join(facts)}")
        return fragment(head, notes(self.notes), chart(self.losses, self.held_out, self.group_sizes), answers)

    def __repr__(self) -> str:
        return f"RunMonitor({self.name!r}: {self.state}, step {self.step}/{self.total or '?'})"


def newest(points: Points) -> list[Point]:
    """Return a list of the newest point with a value; an empty one if there is none."""
    return [point for point in points if point[1] is not None][-1:]


def chart(losses: Points, held_out: Points, group_sizes: dict[str, int]) -> Markup:
    """Return both losses as a static SVG; nothing if there is no loss yet."""
    points = [point for point in [*losses, *held_out] if point[1] is not None]
    if not points:
        return fragment()
    right, top = max(point[0] for point in points) or 1, max(point[1] for point in points) or 1
    lines = [
        _draw_line(f"etabli-{name}", _places(series, right, top))
        for name, series in (("loss", losses), ("held-out", held_out))
        if newest(series)
    ]
    labels = [
        element("text", text, x=x, y=y, text_anchor="end")
        for text, x, y in (
            (f"{top:.2g}", EDGE - 4, 14),
            ("0", EDGE - 4, HEIGHT - 16),
            (f"step {right}", WIDTH - 8, HEIGHT - 2),
        )
    ]
    drawing = element("svg", lines, labels, class_="etabli-chart", viewBox=f"0 0 {WIDTH} {HEIGHT}")
    return fragment(drawing, element("p", _legend(losses, held_out, group_sizes), class_="etabli-legend"))


def _legend(losses: Points, held_out: Points, group_sizes: dict[str, int]) -> list[Markup]:
    """Return the names of the lines that are there."""
    loss = f"loss{_name_extremes(group_sizes['losses'], 'steps')}"
    held_out_loss = f"held-out loss{_name_extremes(group_sizes['held_out'], 'measurements')}"
    keys = (("etabli-loss", loss, losses), ("etabli-held-out", held_out_loss, held_out))
    return [element("span", element("i", class_=name), text) for name, text, series in keys if newest(series)]


def _name_extremes(size: int, unit: str) -> str:
    return f", lowest and highest of each {size} {unit}" if size > 1 else ""


def _draw_line(class_: str, places: list[tuple[str, str]]) -> Markup:
    """Return a line through places; a dot if there is only one."""
    if len(places) == 1:
        return element("circle", class_=class_, cx=places[0][0], cy=places[0][1], r=3)
    return element("polyline", class_=class_, points=" ".join(map(",".join, places)))


def _places(series: Points, right: float, top: float) -> list[tuple[str, str]]:
    wide, high = WIDTH - EDGE - 8, HEIGHT - 28
    points = [point for point in series if point[1] is not None]
    return [(f"{EDGE + x / right * wide:.1f}", f"{8 + (1 - y / top) * high:.1f}") for x, y in points]

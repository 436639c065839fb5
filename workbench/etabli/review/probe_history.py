"""The training film: a run's answers to its probes at each step, and how far they are from those of the base."""

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from etabli.core import journal
from etabli.core.contracts import PINS, VERSION, Pin, ProbeAnswer, ProbeAnswers, ProbeHistory
from etabli.core.errors import BadInput
from etabli.core.wording import count_of
from etabli.review.votes import voter_name
from etabli.runs import events, monitor
from etabli.runs.events import Event
from etabli.runs.run import Run

if TYPE_CHECKING:
    from etabli_widgets import TrainingFilm

REFRESH_SECONDS = 1.0
_TOKEN_LISTS = ("tokens", "logp", "base_logp", "kl")


def film(run: Run | str | Path, author: str | None = None) -> "TrainingFilm":
    """Return the training film of a run as a ``TrainingFilm``; it grows while the run trains. It loads no model.

    Args:
        run: a run or its folder.
        author: who pins steps; by default ``ETABLI_AUTHOR`` or the user.

    Raises:
        BadInput: there is no run, or it has no samples.
    """
    from etabli_widgets import TrainingFilm

    own_run = Run.attach(Run.attach(run).folder)  # a thread reads it, so it must not be the caller's object
    pins = Pins(own_run, author)

    def set_pin(probe: str, step: int, why: str, on: bool) -> list[dict[str, object]]:
        return [{**pin} for pin in pins.set(probe, step, why, on)]

    widget = TrainingFilm({**read_probe_history(own_run)}, set_pin, pins.author)

    def refresh() -> str:
        widget.feed({**read_probe_history(own_run)})
        return own_run.state

    if own_run.state != "completed":
        monitor.watch(refresh, widget, REFRESH_SECONDS)
    return widget


def read_probe_history(run: Run | str | Path) -> ProbeHistory:
    """Return the film as plain values.

    Raises:
        BadInput: there is no run, or it has no samples.
    """
    run = Run.attach(run)
    run_events = run.events()
    strips = _group_by_probe(run_events)
    if not strips:
        raise BadInput(
            f"Run {run.name} has 0 samples, so its film is empty. The probes of a recipe are asked every sample_every "
            "steps, from step 0 on: set both and train again."
        )
    return {
        "version": VERSION,
        "run": run.name,
        "state": run.state,
        "steps": events.last_of_kind(run_events, "start").get("steps"),
        "strips": strips,
        "pins": Pins(run).current(),
        "said": _notes(strips),
    }


def _group_by_probe(run_events: Sequence[Event]) -> list[ProbeAnswers]:
    """The frames of each probe. A probe that was changed during the run becomes a strip of its own."""
    probes: list[str] = []
    frames: dict[str, dict[int, ProbeAnswer]] = {}  # probe -> step -> frame
    for event in run_events:
        if event.get("kind") == "start" and isinstance(event.get("probes"), list):
            probes = list(map(str, event["probes"]))
        number, step = event.get("probe"), event.get("step")
        if event.get("kind") == "sample" and isinstance(step, int) and isinstance(number, int):  # else a damaged line
            probe = probes[number] if 0 <= number < len(probes) else f"probe {number}"
            frames.setdefault(probe, {})[step] = _frame(event)
    return [_strip(probe, [by_step[step] for step in sorted(by_step)]) for probe, by_step in frames.items()]


def _frame(event: Event) -> ProbeAnswer:
    lists = {name: event.get(name) for name in _TOKEN_LISTS}
    if not _has_token_lists(lists):  # an old run did not record them, or the line is damaged
        lists = dict.fromkeys(_TOKEN_LISTS)
    kl = [value for value in lists["kl"] or [] if value is not None]
    return {
        "step": event["step"],
        "text": str(event.get("text", "")),
        "tokens": lists["tokens"],
        "logp": lists["logp"],
        "base_logp": lists["base_logp"],
        "kl": lists["kl"],
        "mean_kl": sum(kl) / len(kl) if kl else None,
        "cut": bool(event.get("cut")),
    }


def _has_token_lists(lists: Event) -> bool:
    """Are these lists of one length, of texts and of numbers (or null)?"""
    if not all(isinstance(values, list) for values in lists.values()):
        return False
    if len({len(values) for values in lists.values()}) != 1:
        return False
    numbers = itertools.chain(lists["logp"], lists["base_logp"], lists["kl"])
    return all(isinstance(text, str) for text in lists["tokens"]) and all(
        number is None or isinstance(number, int | float) for number in numbers
    )


def _strip(probe: str, frames: list[ProbeAnswer]) -> ProbeAnswers:
    first_change = next((frame["step"] for frame in frames if frame["text"] != frames[0]["text"]), None)
    means = [(frame["mean_kl"], frame["step"]) for frame in frames if frame["mean_kl"] is not None]
    rises = [(later - earlier, step) for (earlier, _), (later, step) in itertools.pairwise(means)]
    rise, step = max(rises, default=(0, 0))
    return {"probe": probe, "frames": frames, "changed": first_change, "jump": step if rise > 0 else None}


def _notes(strips: list[ProbeAnswers]) -> list[str]:
    """What a reader must know about the film."""
    first, last = min(_steps(strip)[0] for strip in strips), max(_steps(strip)[-1] for strip in strips)
    notes = []
    for strip in strips:
        if _steps(strip)[0] > first:
            probe = _short_probe(strip)
            notes.append(f"The probes were changed during the run: {probe} was asked from step {_steps(strip)[0]} on.")
    for strip in strips:
        if _steps(strip)[-1] < last:
            notes.append(f"{_short_probe(strip)} was asked up to step {_steps(strip)[-1]}.")
    if text_only := sum(frame["tokens"] is None for strip in strips for frame in strip["frames"]):
        notes.append(f"{count_of(text_only, 'frame')} with text alone: the run did not record tokens.")
    if first == last:
        notes.append("One frame: it can't show a change.")
    return notes


def _short_probe(strip: ProbeAnswers) -> str:
    return repr(textwrap.shorten(strip["probe"], 60, placeholder=" …"))


def _steps(strip: ProbeAnswers) -> list[int]:
    return [frame["step"] for frame in strip["frames"]]


class Pins:
    """The steps that people marked in a run's film, from its ``pins.jsonl``."""

    def __init__(self, run: Run | str | Path, author: str | None = None):
        self.run, self.author = Run.attach(Run.attach(run).folder), voter_name(author)
        self.file = journal.Journal(self.run.folder / PINS, _is_pin)

    def current(self) -> list[Pin]:
        """Return the pins that were not removed, oldest first; the newest of each person on each frame."""
        return list({(pin["probe"], pin["step"], pin["by"]): pin for pin in self._not_undone()}.values())

    def _not_undone(self) -> list[Pin]:
        pins = [cast(Pin, line) for line in self.file.all()]
        undone_ids = {pin.get("undoes") for pin in pins}
        return [pin for pin in pins if pin["id"] not in undone_ids and "undoes" not in pin]

    def set(self, probe: str, step: int, why: str = "", on: bool = True) -> list[Pin]:
        """Pin a frame, or remove the author's own pins from it; return the current pins.

        Raises:
            BadInput: there is no such frame, or no pin of the author on it.
        """
        strips = read_probe_history(self.run)["strips"]
        steps = next((_steps(strip) for strip in strips if strip["probe"] == probe), [])
        if step not in steps:
            choices = ", ".join(map(str, steps)) or "none: there is no such probe"
            raise BadInput(f"There is no frame of step {step} to pin; there are {choices}.")
        entry = {"probe": probe, "step": step, "by": self.author, "why": why}
        if on:
            self.file.add({**journal.new_entry(), **entry})
            return self.current()
        pins = [
            pin for pin in self._not_undone() if (pin["probe"], pin["step"], pin["by"]) == (probe, step, self.author)
        ]
        if not pins:
            raise BadInput(f"{self.author} has not pinned step {step}: only the author of a pin can remove it.")
        for pin in pins:
            self.file.add({**journal.new_entry(), **entry, "undoes": pin["id"]})
        return self.current()


def _is_pin(line: Mapping[str, object]) -> bool:
    has_texts = all(isinstance(line.get(name), str) for name in ("probe", "by", "why"))
    return has_texts and isinstance(line.get("step"), int) and isinstance(line.get("undoes", ""), str)

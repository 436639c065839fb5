"""The training film: what a run answered to its probes, step by step, and how far that was from the base."""

import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etabli.core import journal
from etabli.core.contracts import PINS, VERSION, Film, Frame, Pin, Strip
from etabli.core.errors import BadInput
from etabli.review.votes import voter
from etabli.runs import events, monitor
from etabli.runs.run import Run

EVERY_SECONDS = 1.0


def film(run: Run | str | Path, author: str | None = None):
    """The training film of a run, as a ``TrainingFilm``; it grows while the run goes on. No model is loaded.

    Args:
        run: a run or its folder; author: who pins steps; by default ``ETABLI_AUTHOR`` or the user.

    Raises:
        BadInput: no run there, or one without samples.
    """
    from etabli_widgets import TrainingFilm

    eyes = Run.attach(Run.attach(run).folder)  # eyes of its own: a thread reads them
    pins = Pins(eyes, author)
    widget = TrainingFilm(shot(eyes), pins.set, pins.author)

    def look() -> str:
        widget.feed(shot(eyes))
        return eyes.state

    if eyes.state != "completed":
        monitor.watch(look, widget, EVERY_SECONDS)
    return widget


def shot(run: Run | str | Path) -> Film:
    """The film as plain values.

    Raises:
        BadInput: no run there, or one without samples.
    """
    run = Run.attach(run)
    seen = run.events()
    strips = _strips(seen)
    if not strips:
        raise BadInput(
            f"Run {run.name} has 0 samples: its film is empty. A recipe's probes are asked every sample_every steps, "
            "from step 0 on."
        )
    return {
        "version": VERSION, "run": run.name, "state": run.state, "steps": events.last(seen, "start").get("steps"),
        "strips": strips, "pins": Pins(run).standing(), "said": _said(strips),
    }  # fmt: skip


def _strips(seen: Sequence[dict[str, Any]]) -> list[Strip]:
    """Frames by what was asked: a probe that was changed on the way is another strip."""
    asked: list[str] = []
    found: dict[str, dict[int, Frame]] = {}
    for event in seen:
        if event.get("kind") == "start" and isinstance(event.get("probes"), list):
            asked = list(map(str, event["probes"]))
        if _is_sample(event):
            number = event["probe"]
            probe = asked[number] if 0 <= number < len(asked) else f"probe {number}"
            found.setdefault(probe, {})[event["step"]] = _frame(event)
    return [_strip(probe, [held[step] for step in sorted(held)]) for probe, held in found.items()]


def _is_sample(event: dict[str, Any]) -> bool:
    """A whole one: a line that was damaged has no place in a film."""
    return event.get("kind") == "sample" and isinstance(event.get("step"), int) and isinstance(event.get("probe"), int)


def _frame(event: dict[str, Any]) -> Frame:
    told = {name: event.get(name) for name in ("tokens", "logp", "base_logp", "kl")}
    if not _told(told):  # a run from before these were recorded, or a damaged line
        told = dict.fromkeys(told)
    kl = [value for value in told["kl"] or [] if value is not None]
    return {
        "step": event["step"], "text": str(event.get("text", "")), **told,
        "mean_kl": sum(kl) / len(kl) if kl else None,
    }  # fmt: skip


def _told(told: dict[str, Any]) -> bool:
    lists = all(isinstance(values, list) for values in told.values()) and len({len(v) for v in told.values()}) == 1
    texts = lists and all(isinstance(text, str) for text in told["tokens"])
    numbers = (value for name in ("logp", "base_logp", "kl") for value in told[name] or ())
    return texts and all(value is None or isinstance(value, int | float) for value in numbers)


def _strip(probe: str, frames: list[Frame]) -> Strip:
    changed = next((frame["step"] for frame in frames if frame["text"] != frames[0]["text"]), None)
    known = [frame for frame in frames if frame["mean_kl"] is not None]
    rises = [(after["mean_kl"] - before["mean_kl"], after["step"]) for before, after in itertools.pairwise(known)]
    highest = max(rises, default=(0, None))
    return {"probe": probe, "frames": frames, "changed": changed, "jump": highest[1] if highest[0] > 0 else None}


def _said(strips: list[Strip]) -> list[str]:
    first, last = min(_steps(strip)[0] for strip in strips), max(_steps(strip)[-1] for strip in strips)
    late = [strip for strip in strips if _steps(strip)[0] > first]
    ended = [strip for strip in strips if _steps(strip)[-1] < last]
    blank = sum(frame["tokens"] is None for strip in strips for frame in strip["frames"])
    return [
        *[f"The probes were changed during the run: {_short(strip)} was asked from step {_steps(strip)[0]} on."
          for strip in late],
        *[f"{_short(strip)} was asked up to step {_steps(strip)[-1]}." for strip in ended],
        *[f"{blank} frame{'s' * (blank > 1)} with text alone: the run did not record tokens."] * bool(blank),
        *["One frame: nothing can be said of change."] * (first == last),
    ]  # fmt: skip


def _short(strip: Strip) -> str:
    return repr(textwrap.shorten(strip["probe"], 60, placeholder=" …"))


def _steps(strip: Strip) -> list[int]:
    return [frame["step"] for frame in strip["frames"]]


class Pins:
    """Steps that somebody marked in a run's film, in its ``pins.jsonl``."""

    def __init__(self, run: Run | str | Path, author: str | None = None):
        self.run, self.author = Run.attach(Run.attach(run).folder), voter(author)
        self.file = journal.Journal(self.run.folder / PINS, _is_pin)

    def standing(self) -> list[Pin]:
        """Pins that were not taken away, oldest first; the newest of each person on each frame."""
        return list({(pin["probe"], pin["step"], pin["by"]): pin for pin in self._left()}.values())

    def _left(self) -> list[Pin]:
        held = self.file.all()
        gone = {pin.get("undoes") for pin in held}
        return [pin for pin in held if pin["id"] not in gone and "undoes" not in pin]

    def set(self, probe: str, step: int, why: str = "", on: bool = True) -> list[Pin]:
        """Pin a frame, or take one's own pins off it; returns what stands.

        Raises:
            BadInput: there is no such frame, or no pin of one's own on it.
        """
        steps = next((_steps(strip) for strip in shot(self.run)["strips"] if strip["probe"] == probe), [])
        if step not in steps:
            there = ", ".join(map(str, steps)) or "none: there is no such probe"
            raise BadInput(f"There is no frame of step {step} to pin; there are {there}.")
        entry = {"probe": probe, "step": step, "by": self.author, "why": why}
        for more in [{}] if on else [{"undoes": pin["id"]} for pin in self._mine(probe, step)]:
            self.file.add({**journal.stamp(), **entry, **more})
        return self.standing()

    def _mine(self, probe: str, step: int) -> list[Pin]:
        mine = [pin for pin in self._left() if (pin["probe"], pin["step"], pin["by"]) == (probe, step, self.author)]
        if not mine:
            raise BadInput(f"{self.author} has not pinned step {step}.")
        return mine


def _is_pin(line: dict[str, Any]) -> bool:
    texts = all(isinstance(line.get(name), str) for name in ("probe", "by", "why"))
    return texts and isinstance(line.get("step"), int) and isinstance(line.get("undoes", ""), str)

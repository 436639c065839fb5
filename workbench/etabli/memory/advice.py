"""Does it fit; if not, what would make it fit, the cheapest first; and how far one can go."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from etabli.memory.config import ROUND, Setup
from etabli.memory.device_overhead import peak_on_device
from etabli.memory.gpus import Card
from etabli.memory.scaling import Forms

AGAIN = 0.5  # a layer run again costs half of its forward and backward pass: 6 operations a weight instead of 4
LONGEST = 2**22  # tokens


Device = Callable[[Setup], int]  # bytes on the card


class Change(NamedTuple):
    """One thing to do otherwise."""

    key: str
    setup: Setup
    cost: str
    slower: float = 1.0  # a step of as many tokens takes so many times as long


def fitting(forms: Forms, setup: Setup, place: Card, known: dict[str, Any]) -> dict[str, Any]:
    """``gpu``, ``fits``, ``advice`` (each change alone), ``cheapest`` (changes until it fits), ``largest``."""

    def device(wanted: Setup) -> int:
        return peak_on_device(forms, wanted, known)

    now = device(setup)
    changes = [] if now <= place.total else list(_changes(setup, forms, device, place))
    alone = [_told(change, setup, now, device, place) for change in changes]
    return {
        "gpu": {"name": place.name, "total": place.total},
        "fits": now <= place.total,
        "advice": [item for item in alone if item["saves"] > 0],
        "cheapest": _cheapest(forms, setup, device, place) if changes else None,
        "largest": _largest(setup, device, place.total),
    }


def _changes(setup: Setup, forms: Forms, device: Device, place: Card) -> Iterator[Change]:
    """What could be otherwise, from the cheapest on."""
    half = max(1, setup.seq // 2)
    if setup.seq > 1:
        yield Change("seq", replace(setup, seq=half), "rows longer than that are cut")
    if setup.batch > 1:
        said = "fewer rows a pack, and accumulate as many more: the same steps, somewhat slower"
        yield Change("batch", replace(setup, batch=1), said)
    yield from _checkpointed(setup, forms, device, place)
    if setup.rank > 1:
        yield Change("rank", replace(setup, rank=max(1, setup.rank // 2)), "half the adapter: less can be learnt")
    if setup.optimizer == "adamw":
        yield Change("optimizer", replace(setup, optimizer="adamw8bit"), "states in 8 bits; as fast")
    if setup.loss == "full":
        said = "logits in chunks: this project's engine, or a fused kernel; as fast"
        yield Change("loss", replace(setup, loss="chunked"), said)


def _checkpointed(setup: Setup, forms: Forms, device: Device, place: Card) -> Iterator[Change]:
    """As few layers as it takes; transformers' own loop knows all or none."""
    layers = forms[setup.loss].layers
    now = setup.checkpointed(layers)
    counts = range(now + 1, layers + 1) if setup.engine == "etabli" else range(layers, layers + 1)
    if now == layers:
        return
    at = bisect_left(counts, True, key=lambda some: device(_with(setup, some, layers)) <= place.total)
    some = counts[min(at, len(counts) - 1)]
    slower = 1 + AGAIN * (some - now) / layers
    said = f"{some} of {layers} layers run twice: a step takes about {slower:.2f} times as long"
    yield Change("checkpointing", _with(setup, some, layers), said, slower)


def _with(setup: Setup, some: int, layers: int) -> Setup:
    return replace(setup, checkpointing="all" if some == layers else str(some))


def _said(change: Change, setup: Setup) -> str:
    return f"{change.key} {getattr(setup, change.key)} → {getattr(change.setup, change.key)}"


def _told(change: Change, setup: Setup, now: int, device: Device, place: Card) -> dict[str, Any]:
    then = device(change.setup)
    told = {"change": _said(change, setup), "device": then, "saves": now - then, "fits": then <= place.total}
    return told | {"cost": change.cost, "slower": change.slower}


def _cheapest(forms: Forms, setup: Setup, device: Device, place: Card) -> dict[str, Any] | None:
    """The first change that is enough by itself; else one after the other, round after round, while they save."""
    said = [change for change in _changes(setup, forms, device, place) if device(change.setup) <= place.total]
    if said:
        return {"changes": [_said(said[0], setup)], "setup": said[0].setup.keys(), "device": device(said[0].setup)}
    done: list[str] = []
    while change := _next(forms, setup, device, place, done):
        done.append(_said(change, setup))
        setup = change.setup
        if device(setup) <= place.total:
            return {"changes": done, "setup": setup.keys(), "device": device(setup)}
    return None


def _next(forms: Forms, setup: Setup, device: Device, place: Card, done: list[str]) -> Change | None:
    """Of the changes that save anything, the one that was made least often so far; the cheapest of those."""
    saving = [one for one in _changes(setup, forms, device, place) if device(one.setup) < device(setup)]
    return min(saving, key=lambda one: sum(said.startswith(f"{one.key} ") for said in done), default=None)


def _largest(setup: Setup, device: Device, most: int) -> dict[str, int]:
    """The longest row at this batch, in tokens, and the most rows of this length."""
    lengths, counts = range(ROUND, LONGEST, ROUND), range(1, LONGEST // setup.seq + 2)
    seq = bisect_right(lengths, most, key=lambda length: device(replace(setup, seq=length)))
    return {
        "seq": seq * ROUND,
        "batch": bisect_right(counts, most, key=lambda rows: device(replace(setup, batch=rows))),
    }

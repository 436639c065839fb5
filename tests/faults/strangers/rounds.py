"""Texts in a home: every kind in every spot, one kind a spot and round; and mixed ones where a file is refused."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from strangers import commands, home, jobs
from strangers.payloads import APART, TOGETHER, TYPED, Canary, cocktails
from strangers.plant import GROUPS, kind_at
from strangers.survey import Spot
from strangers.watch import Job

SLOW = ("frames", "data tokens", "data check --model")  # seconds: in every eighth round
# What means something alone only: names of files, addresses, code.
EXACT = (
    "code of the folder",
    "code beside",
    "schema outside",
    "rows outside",
    "absolute",
    "parents",
    "device",
    "address",
    "slow score",
    "home",
    "very long",
)
NAMES_DATA = ("rows outside", "absolute", "parents", "device", "home")
EVERY = 8
ROUNDS, PLANTS = 8, 150  # of one job: a child that has done much holds threads and memory of all of it


def numbers(stride: int) -> list[int]:
    """The rounds of one kind a spot, every ``stride``-th of them, and those of what stands apart."""
    return [*range(0, len(TOGETHER), stride), *range(len(TOGETHER), len(TOGETHER) + len(APART))]


def tried(spots: list[Spot], stride: int) -> Iterator[tuple[str, int]]:
    """Each kind with how often a command meets it in the free spots, round by round."""
    for number in numbers(stride):
        for place, (file, _) in enumerate(spots):
            yield kind_at(number, place), len(commands.readers(file))


def free(spots: list[Spot], stranger: Path, cache: Path, place: Path, stride: int) -> Iterator[Job]:
    """Rounds in which all free spots are hostile at once; every ``stride``-th of as many as there are kinds."""
    names = [*commands.CHEAP, *commands.CALLS]
    quick = [name for name in names if name not in SLOW]
    plants = [
        {"attack": f"round {number}", "round": number, "groups": spots, "steps": quick if count % EVERY else names}
        for count, number in enumerate(numbers(stride))
    ]
    for number, some in enumerate(_parts(plants, ROUNDS)):
        folder = home.job_folder(stranger, cache, place / f"free-{number}")
        steps = [commands.step(name, folder) for name in names]
        yield Job(f"free texts {number}", str(folder), steps, some, deadline=1800, pages=True)


def _parts(plants: list[dict[str, Any]], most: int) -> Iterator[list[dict[str, Any]]]:
    """Lists of at most so many, no fewer than there are cores."""
    size = min(most, -(-len(plants) // jobs.CORES))
    return (plants[start : start + size] for start in range(0, len(plants), size))


def fixed(spots: list[Spot], stranger: Path, cache: Path, place: Path, stride: int) -> Iterator[Job]:
    """Spots that a command refuses, one at a time: all kinds in a few texts, and values that are no text."""
    hostile: list[dict[str, Any]] = [{"cocktail": number} for number in range(len(cocktails(Canary(0, Path("/x")))))]
    hostile += [{"typed": kind} for kind in TYPED] + [{"kind": kind} for kind in EXACT]
    plants = [
        {
            "attack": _named(spot, what),
            "file": spot[0],
            "group": spot[1],
            "number": order * GROUPS,
            "steps": [name for name in commands.readers(spot[0]) if name not in SLOW],
            **what,
        }
        for order, spot in enumerate(spots)
        for what in hostile[order % stride :: stride]
        if not _may(spot, what)
    ]
    for number, some in enumerate(_parts(plants, PLANTS)):
        folder = home.job_folder(stranger, cache, place / f"fixed-{number}")
        steps = [commands.step(name, folder) for name in [*commands.CHEAP, *commands.CALLS]]
        yield Job(f"fixed texts {number}", str(folder), steps, some, deadline=1800)


def _may(spot: Spot, what: dict[str, Any]) -> bool:
    """A recipe that a person names on the command line may name any data."""
    recipe = spot[0] == "curation.yaml" and {place[0] for place in spot[1]} <= {"data", "eval_data"}
    return recipe and what.get("kind") in NAMES_DATA


def _named(spot: Spot, what: dict[str, Any]) -> str:
    places = " ".join("/".join(place) for place in spot[1])[:100]
    return f"{next(iter(what.items()))} in {spot[0]} at {places}"


def meaning_of(attack: str, detail: str, spots: list[Spot]) -> str:
    """The same of what a page shows, if a canary stands in it; else which attack it was."""
    number = re.search(r"hit\((\d+)\)|stranger\.invalid/(\d+)", detail)
    return meaning(int(number[1] or number[2]), spots) if number else attack


def meaning(number: int, spots: list[Spot]) -> str:
    """Which kind stood where, of a canary's number in a round."""
    turn, place = divmod(number, GROUPS)
    if place >= len(spots):
        return f"canary {number}"
    name, group = spots[place]
    return f"{kind_at(turn, place)} in {name} at {' '.join('/'.join(one) for one in group)[:120]}"

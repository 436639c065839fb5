"""What was tried and what got through, as a table and as JSON."""

import collections
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from etabli.core import storage
from strangers.watch import Hole

# What must never happen. ``unexplained`` (an error that is no sentence of ours) is counted and listed, and no hole.
HOLES = ("executed", "fetched", "leaked", "left", "obeyed", "markup", "accepted", "hung", "crashed")
MOST = 400  # holes that are written down


@dataclass
class Tally:
    """Counts by surface: how many attacks of each kind were tried, and what got through."""

    tried: dict[str, collections.Counter] = field(default_factory=lambda: collections.defaultdict(collections.Counter))
    holes: dict[str, list[Hole]] = field(default_factory=lambda: collections.defaultdict(list))
    began: float = field(default_factory=time.monotonic)

    def add(self, surface: str, kind: str, count: int = 1) -> None:
        """Something was tried."""
        self.tried[surface][kind] += count

    def through(self, surface: str, holes: list[Hole]) -> None:
        """Something got through; each once."""
        known = {(hole.kind, hole.attack, hole.step, hole.detail) for hole in self.holes[surface]}
        for hole in holes:
            if (hole.kind, hole.attack, hole.step, hole.detail) not in known:
                known.add((hole.kind, hole.attack, hole.step, hole.detail))
                self.holes[surface].append(hole)

    def forget(self, surface: str) -> None:
        """Leave out what was made on purpose."""
        self.tried.pop(surface, None)
        self.holes.pop(surface, None)

    def worst(self, surface: str) -> list[str]:
        """The holes of a surface in words, ``unexplained`` left out."""
        found = [hole for hole in self.holes[surface] if hole.kind in HOLES]
        return [f"{hole.kind}: {hole.attack} | {hole.step} | {hole.detail}" for hole in found]

    def lines(self) -> list[str]:
        """The table for a person."""
        head = f"{'surface':<34}{'kinds':>6}{'tried':>9}" + "".join(f"{kind:>10}" for kind in HOLES)
        return [head, *(self._line(surface) for surface in self.tried)]

    def _line(self, surface: str) -> str:
        counts = collections.Counter(hole.kind for hole in self.holes[surface])
        tried = self.tried[surface]
        return f"{surface:<34}{len(tried):>6}{sum(tried.values()):>9}" + "".join(
            f"{counts[kind]:>10}" for kind in HOLES
        )

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        surfaces = {
            surface: {
                "kinds": len(tried),
                "tried": sum(tried.values()),
                "through": dict(collections.Counter(hole.kind for hole in self.holes[surface])),
            }
            for surface, tried in self.tried.items()
        }
        kinds = {surface: dict(tried) for surface, tried in self.tried.items()}
        every = [{"surface": surface, **asdict(hole)} for surface, holes in self.holes.items() for hole in holes]
        seconds = round(time.monotonic() - self.began)
        storage.write_json(
            path,
            {
                "everything": FULL and STRIDE == 1,
                "stride": STRIDE,
                "surfaces": surfaces,
                "tried": kinds,
                "holes": every[:MOST],
                "seconds": seconds,
                "cores": os.cpu_count(),
            },
        )


FULL = bool(os.environ.get("ETABLI_FAULTS"))  # try everything, not a part
# Each text that decides whether a file is read meets every so-manieth attack; all of them take four hours on two cores.
STRIDE = int(os.environ.get("ETABLI_ATTACKS_STRIDE", "1" if FULL else "12"))
tally = Tally()  # of this session

"""Runs steps in a child that is watched: what it executes, whom it asks, what it opens outside, what it shows.

A ``Job`` has a folder of its own: ``home`` (the stranger's), ``outside`` (beside it, out of bounds), ``marks`` (files
that only obeyed payloads make), ``out`` (where a command may write), ``desk`` (where it is run), ``user`` (HOME).
"""

import json
import os
import resource
import sys
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from strangers import plant, sinks, terminal
from strangers.audit import Watch
from strangers.console import Terminal

SECRET = "canary-of-outside-7f3a"  # every file in ``outside`` holds it
MEMORY = 3 * 2**30  # bytes that a child may take beyond what its libraries map
CPU_SECONDS = 60  # after them a child is ended: it would go on for ever
CRASHES = (b"RecursionError", b"MemoryError", b"UnpicklingError")  # not even these are to be shown as they are
DEADLINE = 120.0  # seconds by the clock, for a child that waits for what never comes; a busy machine needs so many
FOLDERS = ("home", "outside", "marks", "out", "desk", "user", "cache", "tmp")


@dataclass
class Step:
    """One command or call. ``words`` for ``etabli``; or ``call``, a function of ``sinks``."""

    name: str
    words: list[str] = field(default_factory=list)
    call: str = ""
    stdin: str = ""
    trained: bool = False  # may start a training process


@dataclass
class Job:
    """Steps that one child does, one after another."""

    name: str
    folder: str
    steps: list[Step]
    plants: list[dict[str, Any]] = field(default_factory=list)  # done in the child, between rounds of its steps
    deadline: float = DEADLINE
    pages: bool = False  # keep what was written for the browser
    secrets: dict[str, str] = field(default_factory=lambda: {"outside": SECRET})  # what no sink may show
    variables: dict[str, str] = field(default_factory=dict)  # of the environment


@dataclass
class Hole:
    """What got through: ``kind`` is executed, fetched, leaked, left, obeyed, hung or crashed."""

    kind: str
    attack: str
    step: str
    detail: str


def work(job: Job, results: str) -> None:
    """Do a job in this process, and write what got through to a file. For a child that ends."""
    os.setsid()
    folder = Path(job.folder)
    os.environ |= job.variables
    _settle(folder)
    watch, holes, shown = Watch(folder), [], []
    console = Terminal(folder / "tmp")
    for what in job.plants or [{}]:
        attack = plant.plant(folder, what) if what else job.name
        watch.look_outside()
        for step in [step for step in job.steps if step.name in what.get("steps", [step.name])]:
            watch.seen.clear()
            _allow_time()
            code, out, err, seconds = _do(step, folder, console)
            holes += [Hole(kind, attack, step.name, detail) for kind, detail in watch.seen]
            holes += [Hole(kind, attack, step.name, detail) for kind, detail in _told(job, step, code, out, err)]
            shown.append((attack, step.name, code, round(seconds, 2), _last(err)))
        holes += [Hole(kind, attack, "", detail) for kind, detail in _left(job)]
        _forget(folder)
        if job.pages:
            plant.keep_pages(folder, attack)
    Path(results).write_text(json.dumps({"holes": [asdict(hole) for hole in holes], "shown": shown}))


def _settle(folder: Path) -> None:
    """The child's own world: folders, variables, limits."""
    for name in ("desk", "out", "user", "tmp", "marks"):
        (folder / name).mkdir(exist_ok=True)
    os.chdir(folder / "desk")
    os.environ |= {
        "HOME": str(folder / "user"),
        "TMPDIR": str(folder / "tmp"),
        "ETABLI_CACHE": str(folder / "cache"),
        "XDG_CACHE_HOME": str(folder / "user" / ".cache"),
        "ETABLI_AUTHOR": "ann",
        "COLUMNS": "100",
    }
    tempfile.tempdir = str(folder / "tmp")
    sys.dont_write_bytecode = True
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, mapped + MEMORY))


def _allow_time() -> None:
    """So many seconds of a processor for the step that begins; then the child is ended."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))


def _forget(folder: Path) -> None:
    """What an attack has left is told; the next must not be blamed for it."""
    for path in (folder / "marks").iterdir():
        path.unlink()
    (folder / "began").write_text(json.dumps(listed(folder / "outside")))


def _do(step: Step, folder: Path, console: Terminal) -> tuple[int, bytes, bytes, float]:
    from etabli.app import cli
    from etabli.core.errors import EtabliError

    console.begin(step.stdin)
    began = time.monotonic()
    try:
        code = getattr(sinks, step.call)(folder) if step.call else cli.main(step.words)
    except SystemExit as end:
        code = end.code
    except Exception as error:  # of a call: as the command line would say it
        code = 2
        hint = "" if isinstance(error, EtabliError) else f"{type(error).__name__} (--debug shows where): "
        print(f"{hint}{error}".encode("ascii", "backslashreplace").decode(), file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = -1
    return int(code or 0), *console.end(), time.monotonic() - began


def _told(job: Job, step: Step, code: int, out: bytes, err: bytes) -> list[tuple[str, str]]:
    """What the streams show that they must not."""
    holes = [
        ("obeyed", f"{stream}: {found}")
        for stream, text in (("out", out), ("err", err))
        for found in terminal.raw(text)
    ]
    traced = b"Traceback (most recent call last)" in out + err and "--debug" not in step.words
    if code not in (0, 1, 2) or traced:
        holes.append(("crashed", _last(err) or f"exit code {code}"))
    if b"(--debug shows where)" in err:
        holes.append(("crashed" if any(name in err for name in CRASHES) else "unexplained", _last(err)))
    return holes + [("leaked", f"{name} on the terminal") for name in _secrets_in(job, out + err)]


def _secrets_in(job: Job, body: bytes) -> list[str]:
    return [name for name, secret in job.secrets.items() if secret.encode() in body]


def _last(text: bytes) -> str:
    lines = text.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:200] if lines else ""


def _left(job: Job) -> list[tuple[str, str]]:
    """What is on the disk that must not be there."""
    folder = Path(job.folder)
    holes = [("executed", f"made {path.name}") for path in (folder / "marks").iterdir()]
    for place in ("out", "desk", "user", "home"):
        for path in (folder / place).rglob("*"):
            if path.is_symlink() or not path.is_file() or path.stat().st_mtime < (folder / "began").stat().st_mtime:
                continue
            names = _secrets_in(job, _added(folder, path))
            holes += [("leaked", f"{name} in {path.relative_to(folder)}") for name in names]
    return [*holes, *_changed(folder)]


def _added(folder: Path, path: Path) -> bytes:
    """What was written into a file: all of it, or what follows the text that the stranger had planted there."""
    body = path.read_bytes()[: 2**24]
    planted = folder / "planted" / path.relative_to(folder)
    return body.removeprefix(planted.read_bytes()) if planted.is_file() else body


def _changed(folder: Path) -> list[tuple[str, str]]:
    """What of ``outside`` is another file than before, or new."""
    before = json.loads((folder / "began").read_text())
    return [
        ("left", f"changed outside/{name}")
        for name in listed(folder / "outside").items() ^ before.items()
        for name in [name[0]]
    ]


def listed(folder: Path) -> dict[str, int]:
    """Names and sizes of a folder's ordinary files."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}

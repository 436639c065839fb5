"""Faults at every point where a process touches the disk.

Work runs in a forked child that is watched: opening a file to write, fsync, rename, unlink, mkdir and rmdir below a
folder are points, in order. At a chosen one the child is killed, or told that the disk is full; or all of them are
recorded, and what a loss of power would have left is made from the record.
"""

import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

AUDITED = {"os.rename": "rename", "os.remove": "unlink", "os.rmdir": "rmdir", "os.mkdir": "mkdir"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
DONE, FAILED = 0, 3


def watch(root: Path, at: Callable[[int, str, str], None]) -> None:
    """Call ``at(number, kind, path)`` before every point below ``root``. It can't be undone: for a child that ends."""
    count = 0

    def point(kind: str, path: Any, folder: int = -1) -> None:
        nonlocal count
        name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if folder >= 0 and not name.startswith("/"):  # rmtree names what it deletes by an open folder
            name = str(_opened(folder) / name)
        if name.startswith(str(root)):
            count += 1
            at(count, kind, name)

    def audit(event: str, given: tuple) -> None:
        if event in AUDITED:
            point(AUDITED[event], given[0], given[-2] if event == "os.rename" else given[-1])
        elif event == "open" and isinstance(given[2], int) and given[2] & WRITING:
            point("open", given[0])

    fsync = os.fsync

    def watched(handle: int) -> None:
        point("fsync", _opened(handle))
        fsync(handle)

    sys.addaudithook(audit)
    os.fsync = watched


def _opened(handle: int) -> Path:
    return Path(f"/proc/self/fd/{handle}").readlink()


def in_child(work: Callable[[], Any]) -> int:
    """Run work in a forked child; returns its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(DONE)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(FAILED)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(root: Path, number: int, work: Callable[[], Any], torn: bool = False) -> int:
    """Do work and be killed before point ``number``. ``torn``: what was about to be fsynced is only half there."""

    def at(count: int, kind: str, path: str) -> None:
        if count == number:
            if torn and kind == "fsync" and Path(path).is_file():
                os.truncate(path, Path(path).stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    return in_child(lambda: (watch(root, at), work()))


def full_at(root: Path, number: int, work: Callable[[], Any], code: int = errno.ENOSPC) -> int:
    """Do work on a disk that is full from point ``number`` on, for whatever takes space."""

    def at(count: int, kind: str, path: str) -> None:
        if count >= number and kind in ("open", "fsync", "mkdir"):
            raise OSError(code, os.strerror(code), path)

    return in_child(lambda: (watch(root, at), work()))


@dataclass
class Record:
    """What was there before each point and at the end: entries of every folder by inode, and what was fsynced."""

    states: list[dict[str, Any]] = field(default_factory=list)
    contents: Path = Path()


def recorded(root: Path, work: Callable[[], Any], store: Path) -> Record:
    """Do work, and record what is on the disk before each point."""
    store.mkdir()
    log = store / "states.jsonl"

    def run() -> None:
        synced: dict[str, int] = {str(_inode(path)): 0 for path in [root, *root.rglob("*")]}
        listed = {str(_inode(path)): _entries(path) for path in [root, *root.rglob("*")] if path.is_dir()}
        for path in root.rglob("*"):
            if path.is_file():
                (store / f"{_inode(path)}-0").write_bytes(path.read_bytes())
        out = log.open("a")

        def at(count: int, kind: str, path: str) -> None:
            state = {"root": _inode(root), "now": _tree(root), "synced": synced, "listed": listed, "kind": kind}
            out.write(json.dumps(state) + "\n")
            out.flush()
            if kind == "fsync" and Path(path).is_dir():
                listed[str(_inode(path))] = _entries(Path(path))
            elif kind == "fsync":
                synced[str(_inode(path))] = count
                (store / f"{_inode(path)}-{count}").write_bytes(Path(path).read_bytes())

        watch(root, at)
        work()
        at(0, "done", "")

    assert in_child(run) == DONE
    return Record([json.loads(line) for line in log.read_text().splitlines()], store)


def _inode(path: str | Path) -> int:
    return Path(path).stat().st_ino


def _entries(folder: Path) -> dict[str, int]:
    return {path.name: _inode(path) for path in folder.iterdir()}


def _tree(root: Path) -> dict[str, dict[str, int]]:
    return {str(_inode(path)): _entries(path) for path in [root, *root.rglob("*")] if path.is_dir()}


def after_power_loss(record: Record, number: int, place: Path, names_kept: bool) -> None:
    """Make in ``place`` what a loss of power before point ``number`` leaves.

    Contents are those of each file's last fsync, or nothing. ``names_kept``: names reached the disk at once, as
    journals often have it; else only what a fsync of their folder has written.
    """
    state = record.states[number - 1]
    known = state["now" if names_kept else "listed"]
    _make(str(state["root"]), known, state, record, place)


def _make(inode: str, known: dict[str, dict[str, int]], state: dict[str, Any], record: Record, place: Path) -> None:
    place.mkdir()
    for name, child in known.get(inode, {}).items():
        if str(child) in known or str(child) in state["now"]:
            _make(str(child), known, state, record, place / name)
            continue
        kept = record.contents / f"{child}-{state['synced'].get(str(child), -1)}"
        (place / name).write_bytes(kept.read_bytes() if kept.is_file() else b"")

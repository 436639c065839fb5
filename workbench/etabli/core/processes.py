"""Who is alive, and who owns the device.

A process is told by its pid *and* its start time: pids are used again. One run at a time owns a machine's device;
it says so in a small file, which a dead owner does not keep.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etabli.core import machine, parsing, storage
from etabli.core.errors import DeviceBusy


def identity(pid: int | None = None) -> dict[str, Any]:
    """What ``process.json`` holds: pid, start time (seconds since epoch) and host."""
    import psutil

    process = psutil.Process(pid or os.getpid())
    return {"pid": process.pid, "started": process.create_time(), "host": socket.gethostname()}


def is_alive(who: dict[str, Any]) -> bool:
    """Does the process that ``identity`` described still run on this machine?"""
    import psutil

    try:
        process = psutil.Process(who["pid"])
        same = abs(process.create_time() - who["started"]) < 1.0 and who["host"] == socket.gethostname()
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, KeyError, TypeError):
        return False


def _owner_file() -> Path:
    return machine.cache_folder() / "device-owner.json"


def device_owner() -> dict[str, Any] | None:
    """The run that owns this machine's device, or None: ``{pid, started, host, run}``."""
    try:
        owner = parsing.read_json(_owner_file(), parsing.LARGEST_CONFIG)
    except (OSError, ValueError):
        return None
    return owner if isinstance(owner, dict) and is_alive(owner) else None


@contextmanager
def hold_device(run: Path) -> Iterator[None]:
    """Own the device while a run trains.

    Raises:
        DeviceBusy: another run owns it.
    """
    require_free_device(f"Training {run.name} can't begin", run)
    own_device(run)
    try:
        yield
    finally:
        owner = device_owner()
        if owner and owner["pid"] == os.getpid():
            _owner_file().unlink(missing_ok=True)


def own_device(run: Path, pid: int | None = None) -> None:
    """Write down who owns the device: this process, or a child that was just started."""
    storage.write_json(_owner_file(), {**identity(pid), "run": str(run.absolute())})


def require_free_device(what: str, mine: Path | None = None) -> None:
    """Raise DeviceBusy, with the owner's name, memory and the way to stop it, if a run other than mine owns it."""
    owner = device_owner()
    if owner is None or owner["pid"] == os.getpid() or (mine and owner.get("run") == str(mine.absolute())):
        return
    run = owner.get("run", "?")
    raise DeviceBusy(
        f"{what}: run {Path(run).name!r} (process {owner['pid']}, {_resident(owner['pid']) / 1e9:.1f} GB of memory) is "
        f"training here. Wait for it with Run.attach({run!r}).wait(), stop it with .stop(), or pass alongside=True."
    )


def _resident(pid: int) -> int:
    import psutil

    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0


def child_environment(**more: str) -> dict[str, str]:
    """The environment of a Python that is started here: what lies in the working folder is no module of it."""
    return {**os.environ, "PYTHONSAFEPATH": "1", **more}

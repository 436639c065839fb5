"""Which processes are alive, and which run owns the device.

A process is identified by its pid *and* its start time, because pids are used again. On Linux the start is counted in
ticks since the machine booted: a clock that jumps (WSL, suspend, NTP) moves every start time, but not these.

Only one run at a time owns a machine's device. A small file names the owner; it counts only while the owner is alive.
"""

import os
import shlex
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from etabli.core import machine, parsing, storage
from etabli.core.contracts import DeviceOwner, ProcessIdentity
from etabli.core.errors import DeviceBusy
from etabli.core.wording import format_gib

if TYPE_CHECKING:
    import psutil


def identity(pid: int | None = None) -> ProcessIdentity:
    """Return the content of ``process.json`` for a process, by default this one."""
    import psutil

    process = psutil.Process(pid or os.getpid())
    owner: ProcessIdentity = {"pid": process.pid, "started": process.create_time(), "host": socket.gethostname()}
    ticks = _start_since_boot(process.pid)
    return owner if ticks is None else {**owner, "started_since_boot": ticks}


def _start_since_boot(pid: int) -> str | None:
    """Return the boot's id and the ticks from boot to the start of a process; None where there is no /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return f"{boot}:{fields[19]}"  # field 22 of proc_pid_stat(5); the name before it may hold blanks
    except (OSError, IndexError):
        return None


def is_alive(owner: Mapping[str, object]) -> bool:
    """Return whether the process that ``identity`` described still runs on this machine."""
    import psutil

    try:
        process = psutil.Process(owner["pid"])
        is_here = owner["host"] == socket.gethostname()
        return bool(is_here and _started_then(process, owner) and process.status() != psutil.STATUS_ZOMBIE)
    except (psutil.Error, KeyError, TypeError, ValueError, OverflowError):  # also numbers that are no pid
        return False


def _started_then(process: "psutil.Process", owner: Mapping[str, object]) -> bool:
    """Return whether a process began when its identity says; by the clock only if there are no ticks to compare."""
    if (ticks := owner.get("started_since_boot")) and (now := _start_since_boot(process.pid)):
        return bool(ticks == now)
    return bool(abs(process.create_time() - owner["started"]) < 1.0)


def _owner_file() -> Path:
    return machine.cache_folder() / "device-owner.json"


def device_owner() -> DeviceOwner | None:
    """Return the run that owns this machine's device, or None."""
    try:
        owner = parsing.read_json(_owner_file(), parsing.LARGEST_CONFIG)
    except (OSError, ValueError):
        return None
    return cast(DeviceOwner, owner) if isinstance(owner, dict) and is_alive(owner) else None


@contextmanager
def hold_device(run: Path) -> Iterator[None]:
    """Own the device within, while a run trains.

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
    """Write who owns the device: this process, or the child with this pid that was just started."""
    storage.write_json(_owner_file(), {**identity(pid), "run": str(run.absolute())})


def require_free_device(problem: str, own_run: Path | None = None, advice: str = "") -> None:
    """Check that no other run owns the device.

    Args:
        problem: what can't be done, the beginning of the message; own_run: a run that may own it.
        advice: what else can be done, the end of the message.

    Raises:
        DeviceBusy: another run owns it; the message names it, its memory and how to stop it.
    """
    owner = device_owner()
    if owner is None or owner["pid"] == os.getpid() or (own_run and owner.get("run") == str(own_run.absolute())):
        return
    run = owner.get("run", "?")
    raise DeviceBusy(
        f"{problem}: run {Path(run).name!r} (process {owner['pid']}, {format_gib(_resident(owner['pid']))} of memory) "
        f"is training here. Wait for its end (etabli runs), or stop it: etabli stop {shlex.quote(run)}{advice}"
    )


def _resident(pid: int) -> int:
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def child_environment(**more: str) -> dict[str, str]:
    """Return the environment for a Python child process: it imports nothing from the working folder."""
    return {**os.environ, "PYTHONSAFEPATH": "1", **more}

"""Checks of the surroundings: memory, disk, models, other runs, the hosted service, and widgets."""

import shutil
import subprocess

from etabli.core import machine, processes
from etabli.core.wording import format_gib

ENOUGH_DISK, ENOUGH_MEMORY = 2e9, 3e9  # bytes
SMALLEST = 2e8  # bytes of memory; smaller processes are not listed
CheckResult = tuple[bool, str, str]
ProcessMemory = tuple[int, str, int]  # pid, name, bytes


def memory() -> CheckResult:
    """Check that there is enough free memory, and name the processes that use most of it."""
    import torch  # noqa: F401 (so that a GPU is measured, if there is one)

    free, users = machine.free_bytes(), largest_processes()
    names = ", ".join(f"{name} ({pid}) {format_gib(size)}" for pid, name, size in users) or "no visible process"
    return free > ENOUGH_MEMORY, f"{format_gib(free)} free; largest users: {names}", _memory_fix(users)


def _memory_fix(users: list[ProcessMemory]) -> str:
    """Return the command that frees memory. Only its owner knows whether a process that is no run may end."""
    owner = processes.device_owner()
    if owner and owner["pid"] in [pid for pid, _, _ in users]:
        return f"etabli stop {owner.get('run')}"
    if not users:
        return "restart the kernels of other notebooks"
    pid, name, size = users[0]
    return f"kill {pid}  # if it may end: {name}, which uses {format_gib(size)}; restart a notebook's kernel instead"


def largest_processes(limit: int = 3) -> list[ProcessMemory]:
    """Return (pid, name, bytes) of this user's processes that use most of the device's memory.

    This process and its parents are left out. So are pids of another machine, which a container may show.
    """
    import psutil

    current = psutil.Process()
    family = {current.pid, *(parent.pid for parent in current.parents())}
    users = _gpu_processes() if machine.device() == "cuda" else _ram_processes()
    candidates = [user for user in users if user[0] not in family and _is_same_user(user[0])]
    return sorted(candidates, key=lambda user: -user[2])[:limit]


def _is_same_user(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).username() == psutil.Process().username())
    except psutil.Error:
        return False


def _gpu_processes() -> list[ProcessMemory]:
    query = ["nvidia-smi", "--query-compute-apps=pid,process_name,used_memory", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[cell.strip() for cell in line.split(",")] for line in output.splitlines()]
    return [(int(row[0]), row[1], int(row[2]) * 2**20) for row in rows if len(row) == 3 and row[2].isdigit()]


def _ram_processes() -> list[ProcessMemory]:
    import psutil

    infos = [process.info for process in psutil.process_iter(["pid", "name", "memory_info"])]
    sizes = [(info["pid"], info["name"], info["memory_info"].rss) for info in infos if info["memory_info"]]
    return [user for user in sizes if user[2] > SMALLEST]


def disk() -> CheckResult:
    """Check that there is enough disk space for models."""
    place = machine.cache_folder()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return False, f"models can't be saved: {error}", "export ETABLI_CACHE=/a/folder/with/room"
    free = shutil.disk_usage(place).free
    return free > ENOUGH_DISK, f"{format_gib(free)} free for models", "export ETABLI_CACHE=/a/folder/with/room"


def model() -> CheckResult:
    """Report whether models can be downloaded. This check never fails: the embedded model needs no Hub."""
    from etabli.models import embedded

    hub = "reachable" if machine.hub_reachable() else "not reachable (etabli works with the models that are here)"
    cache = "cached" if embedded.is_cached() else "not fetched yet"
    return True, f"Hub {hub}, embedded model {cache}", ""


def owner() -> CheckResult:
    """Check that no run uses the device."""
    owner = processes.device_owner()
    if owner is None:
        return True, "no run owns the device", ""
    return False, f"run {owner.get('run')} (process {owner['pid']}) owns the device", f"etabli stop {owner.get('run')}"


def service() -> CheckResult:
    """Check the settings of Colab or Kaggle."""
    platform, device = machine.detect_platform(), machine.device()
    if platform == "colab":
        return (
            device == "cuda",
            f"Colab, on {device}",
            "Runtime > Change runtime type > T4 GPU, then run all cells again",
        )
    if platform == "kaggle":
        detail = f"Kaggle, on {device}, the Hub is {'' if machine.hub_reachable() else 'NOT '}reachable"
        fix = "Settings > Accelerator > GPU T4 x2 (a P100 is too old), and Settings > Internet > On"
        return device == "cuda" and machine.hub_reachable(), detail, fix
    return True, f"{platform}, no hosted service", ""


def widgets() -> CheckResult:
    """Check that widgets can be built. Only a page can test whether it shows them: see ``round_trip``."""
    from etabli_widgets import RunMonitor

    has_twin = "text/html" in RunMonitor(events=[])._bundle()
    return has_twin, "widgets build and have an HTML twin", "pip install --upgrade anywidget ipywidgets"

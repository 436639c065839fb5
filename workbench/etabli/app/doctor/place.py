"""Is there room, who has it, can models be had, and does the page show what it should?"""

import shutil
import subprocess

from etabli.core import machine, processes

ENOUGH_DISK, ENOUGH_MEMORY = 2e9, 3e9
Found = tuple[bool, str, str]


def memory() -> Found:
    """Free memory, and who holds most of the rest."""
    import torch  # noqa: F401 (so that a GPU, if there is one, is what is measured)

    free, held = machine.free_bytes(), holders()
    said = ", ".join(f"{name} ({number}) {size / 1e9:.1f} GB" for number, name, size in held) or "nobody to be seen"
    return free > ENOUGH_MEMORY, f"{free / 1e9:.1f} GB free; most is held by {said}", _freed(held)


def _freed(held: list[tuple[int, str, int]]) -> str:
    """A run is asked to stop; of anything else only its owner knows whether it may end."""
    owner = processes.device_owner()
    if owner and owner["pid"] in [number for number, _, _ in held]:
        return f"etabli stop {owner.get('run')}"
    if not held:
        return "restart the kernels of other notebooks"
    number, name, size = held[0]
    return f"kill {number}  # if it may end: {name}, which holds {size / 1e9:.1f} GB; a notebook's kernel is restarted"


def holders(most: int = 3) -> list[tuple[int, str, int]]:
    """(process, name, bytes) of this user's processes that hold most of the device's memory.

    This one and what started it are left out, and so are numbers of another machine, as a container shows them.
    """
    import psutil

    me = psutil.Process()
    mine = {me.pid, *(parent.pid for parent in me.parents())}
    found = _on_gpu() if machine.device() == "cuda" else _in_ram()
    return sorted((one for one in found if one[0] not in mine and _known(one[0])), key=lambda one: -one[2])[:most]


def _known(number: int) -> bool:
    import psutil

    try:
        return psutil.Process(number).username() == psutil.Process().username()
    except psutil.Error:
        return False


def _on_gpu() -> list[tuple[int, str, int]]:
    query = ["nvidia-smi", "--query-compute-apps=pid,process_name,used_memory", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[cell.strip() for cell in line.split(",")] for line in said.splitlines()]
    return [(int(row[0]), row[1], int(row[2]) * 2**20) for row in rows if len(row) == 3 and row[2].isdigit()]


def _in_ram() -> list[tuple[int, str, int]]:
    import psutil

    found = psutil.process_iter(["pid", "name", "memory_info"])
    others = [one.info for one in found if one.info["memory_info"]]
    return [(one["pid"], one["name"], one["memory_info"].rss) for one in others if one["memory_info"].rss > 2e8]


def disk() -> Found:
    """Room for models."""
    place = machine.cache_folder()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return False, f"models can't be kept: {error}", "export ETABLI_CACHE=/a/folder/with/room"
    free = shutil.disk_usage(place).free
    return free > ENOUGH_DISK, f"{free / 1e9:.1f} GB free for models", "export ETABLI_CACHE=/a/folder/with/room"


def model() -> Found:
    """Can models be had? Nothing of it is a fault: the embedded model needs no Hub."""
    from etabli.models import embedded

    reach = "reachable" if machine.hub_reachable() else "not reachable (etabli works with what is here)"
    kept = "cached" if embedded.is_cached() else "not fetched yet"
    return True, f"Hub {reach}, embedded model {kept}", ""


def owner() -> Found:
    """Does a run own the device?"""
    owner = processes.device_owner()
    if owner is None:
        return True, "no run owns the device", ""
    return False, f"run {owner.get('run')} (process {owner['pid']}) owns the device", f"etabli stop {owner.get('run')}"


def service() -> Found:
    """What Colab and Kaggle ask for."""
    where, device = machine.detect_platform(), machine.device()
    if where == "colab":
        return (
            device == "cuda",
            f"Colab, on {device}",
            "Runtime > Change runtime type > T4 GPU, then run all cells again",
        )
    if where == "kaggle":
        said = f"Kaggle, on {device}, the Hub is {'' if machine.hub_reachable() else 'NOT '}reachable"
        fix = "Settings > Accelerator > GPU T4 x2 (a P100 is too old), and Settings > Internet > On"
        return device == "cuda" and machine.hub_reachable(), said, fix
    return True, f"{where}, no hosted service", ""


def widgets() -> Found:
    """Do widgets build here? Whether the page shows them, only the page can tell: ``round_trip``."""
    from etabli_widgets import RunMonitor

    made = "text/html" in RunMonitor(events=[])._bundle()
    return made, "widgets build and leave an HTML twin", "pip install --upgrade anywidget ipywidgets"

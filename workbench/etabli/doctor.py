"""Is this machine fit for it? Not a list of versions but tests that run, each with the one command that mends it."""

import shutil
from collections.abc import Callable
from typing import Any

from etabli import environment, processes

Check = dict[str, Any]
ENOUGH_DISK, ENOUGH_MEMORY = 2e9, 3e9
TOLERANCE = 0.15  # NF4's own error on Gaussian weights is about 0.1 of their norm


def doctor() -> list[Check]:
    """Run every check: ``[{name, ok, detail, fix}]``. A check that raises is a check that failed."""
    return [_run(name, check) for name, check in CHECKS.items()]


def _run(name: str, check: Callable[[], tuple[bool, str, str]]) -> Check:
    try:
        ok, detail, fix = check()
    except Exception as error:
        ok, detail, fix = False, f"{type(error).__name__}: {error}", "pip install --upgrade etabli bitsandbytes"
    return {"name": name, "ok": ok, "detail": detail, "fix": "" if ok else fix}


def _device() -> tuple[bool, str, str]:
    import torch

    if not torch.cuda.is_available():
        said = f"cpu: {environment.processor()}, {environment.cores()} cores, computes in {environment.compute_dtype()}"
        return True, said, ""
    major, minor = torch.cuda.get_device_capability()
    built = f"sm_{major}{minor}" in torch.cuda.get_arch_list() or major >= 9
    said = f"{torch.cuda.get_device_name()}, capability {major}.{minor}, computes in {environment.compute_dtype()}"
    return built, said, "this torch has no code for this card: choose a T4 or newer, or a torch built for it"


def _four_bit() -> tuple[bool, str, str]:
    """A 4-bit layer forward and backward against the same layer in full precision."""
    import bitsandbytes as bnb
    import torch

    torch.manual_seed(0)
    device, dtype = environment.device(), environment.compute_dtype()
    plain = torch.nn.Linear(256, 256, bias=False)
    four = bnb.nn.Linear4bit(256, 256, bias=False, compute_dtype=dtype, quant_type="nf4")
    four.load_state_dict(plain.state_dict())
    four.to(device)
    x = torch.randn(64, 256)
    there, here = x.clone().to(device, dtype).requires_grad_(), x.clone().requires_grad_()
    out, reference = four(there), plain(here)
    out.float().square().sum().backward()
    reference.square().sum().backward()
    errors = [_relative(out, reference), _relative(there.grad, here.grad)]
    said = f"4-bit forward off by {errors[0]:.3f}, gradient by {errors[1]:.3f} of the full-precision one"
    return max(errors) < 2 * TOLERANCE, said, "pip install --upgrade bitsandbytes"


def _relative(found: Any, wanted: Any) -> float:
    return float((found.detach().float().cpu() - wanted.detach()).norm() / wanted.detach().norm())


def _memory() -> tuple[bool, str, str]:
    import torch  # noqa: F401 (so that a GPU, if there is one, is what is measured)

    free = environment.free_bytes()
    return free > ENOUGH_MEMORY, f"{free / 1e9:.1f} GB free", "close other notebooks, or restart their kernels"


def _disk() -> tuple[bool, str, str]:
    place = environment.cache_folder()
    place.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place).free
    return free > ENOUGH_DISK, f"{free / 1e9:.1f} GB free for models", f"free 2 GB near {place}, or set ETABLI_CACHE"


def _model() -> tuple[bool, str, str]:
    from etabli.models import embedded

    reach = "reachable" if environment.hub_reachable() else "not reachable"
    kept = "cached" if embedded.ready() else "not fetched yet"
    return True, f"Hub {reach}, embedded model {kept}", ""


def _owner() -> tuple[bool, str, str]:
    owner = processes.device_owner()
    if owner is None:
        return True, "no run owns the device", ""
    return False, f"run {owner.get('run')} (process {owner['pid']}) owns the device", f"etabli stop {owner.get('run')}"


def _widgets() -> tuple[bool, str, str]:
    from etabli_widgets import RunMonitor

    made = "text/html" in RunMonitor(events=[])._bundle()
    return made, "widgets build and leave an HTML twin", "pip install --upgrade anywidget ipywidgets"


CHECKS: dict[str, Callable[[], tuple[bool, str, str]]] = {
    "device": _device,
    "four_bit": _four_bit,
    "memory": _memory,
    "disk": _disk,
    "model": _model,
    "owner": _owner,
    "widgets": _widgets,
}

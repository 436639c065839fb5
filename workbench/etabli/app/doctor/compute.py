"""Does the device compute, in 4 bits, in which dtypes, and do its threads wait for each other?"""

import time
from typing import Any

from etabli.core import cpu_dtype, machine

TOLERANCE = 0.15  # NF4's own error on Gaussian weights is about 0.1 of their norm
PRECISION = {"float32": 1e-5, "bfloat16": 1e-2, "float16": 2e-3}  # of a product of 256 terms, relative
HALF = 65504.0  # float16's largest number
SLOW = 0.02  # seconds for operations that take a tenth of a millisecond when no pool spins against the other
TEXT = "The workbench stood in the middle of the shop, and what was made on it could be seen and tested by anyone."

Found = tuple[bool, str, str]


def device() -> Found:
    """Which device, and does this torch hold code for it?"""
    import torch

    if not torch.cuda.is_available():
        said = f"cpu: {machine.processor()}, {machine.cores()} cores, computes in {machine.compute_dtype()}"
        return True, said, ""
    capability, archs = torch.cuda.get_device_capability(), torch.cuda.get_arch_list()
    said = f"{torch.cuda.get_device_name()}, capability {capability[0]}.{capability[1]}"
    said += f", computes in {machine.compute_dtype()}; torch holds code for {' '.join(archs)}"
    fix = "choose a T4 or newer card"
    if capability >= (7, 5):
        fix = "pip install --upgrade torch"
    return runs_on(capability, archs), said, fix


def runs_on(capability: tuple[int, int], archs: list[str]) -> bool:
    """Code for a card runs on later ones of the same generation; PTX (``compute_``) is compiled for any later one."""
    for arch in archs:
        kind, _, digits = arch.partition("_")
        if not digits.isdecimal():  # sm_90a is for that card alone, and gfx1100 is another maker's
            continue
        built = int(digits[:-1]), int(digits[-1])
        same = kind == "sm" and built[0] == capability[0] and built[1] <= capability[1]
        if same or (kind == "compute" and built <= capability):
            return True
    return False


def four_bit() -> Found:
    """A 4-bit layer forward and backward against the same layer in full precision."""
    import bitsandbytes as bnb
    import torch

    where, dtype = machine.device(), machine.compute_dtype()
    plain = torch.nn.Linear(256, 256, bias=False)
    four = bnb.nn.Linear4bit(256, 256, bias=False, compute_dtype=dtype, quant_type="nf4")
    four.load_state_dict(plain.state_dict())
    four.to(where)
    x = torch.randn(64, 256, generator=torch.Generator().manual_seed(0))
    there, here = x.clone().to(where, dtype).requires_grad_(), x.clone().requires_grad_()
    out, reference = four(there), plain(here)
    out.float().square().sum().backward()
    reference.square().sum().backward()
    errors = [_relative(out, reference), _relative(there.grad, here.grad)]
    said = f"4-bit forward off by {errors[0]:.3f}, gradient by {errors[1]:.3f} of the full-precision one"
    return max(errors) < 2 * TOLERANCE, said, "pip install --upgrade bitsandbytes"


def dtypes() -> Found:
    """A product in each dtype against float64, with how long it takes: a dtype that is emulated is slow."""
    import torch

    found, well = [], True
    for name, allowed in PRECISION.items():
        error, seconds = _product(getattr(torch, name))
        right = error < allowed
        well &= right or getattr(torch, name) != machine.compute_dtype()
        found.append(f"{name} off by {error:.1e} in {seconds * 1e3:.1f} ms" + ("" if right else " (too much)"))
    said = "; ".join(found) + f"; computes in {str(machine.compute_dtype()).removeprefix('torch.')}"
    return well, said + _timed(), "pip install --upgrade torch"


def _timed() -> str:
    """On a CPU, what the choice between its dtypes was made by."""
    if machine.device() != "cpu":
        return ""
    times = cpu_dtype.seconds(0, machine.threads(), machine.cache_folder())
    figures = ", ".join(f"{name} {seconds * 1e3:.1f} ms" for name, seconds in times.items())
    return f" (a layer of the embedded model: {figures or 'not timed, since the cache cannot be written'})"


def _product(dtype: Any) -> tuple[float, float]:
    import torch

    left, right = torch.randn(2, 256, 256, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    one, other = left.to(machine.device(), dtype), right.to(machine.device(), dtype)
    one @ other  # the first of a kind may compile
    began = time.perf_counter()
    made = (one @ other).cpu()
    return _relative(made, one.cpu().double() @ other.cpu().double()), time.perf_counter() - began


def overflow() -> Found:
    """The largest activation of the embedded model in a forward pass: float16 ends at 65504."""
    from etabli.models import embedded

    if not embedded.is_cached():
        return True, "not probed: the embedded model is not fetched yet", ""
    largest, where = largest_activation("default")
    half, holds = machine.half_precision(), largest < HALF
    said = f"largest activation {largest:,.0f} (in {where}), which float16 {'holds' if holds else 'does NOT hold'}"
    said += f"; this machine {'computes' if half else 'does not compute'} in float16"
    return holds or not half, said, "etabli train with another model: this one needs a card that computes in bfloat16"


def largest_activation(model: str) -> tuple[float, str]:
    """The largest magnitude that any layer of a model puts out for a sentence, and which layer.

    In float16 a number beyond its range is infinite, and so seen too.
    """
    import torch

    from etabli.models import loading

    loaded = loading.load(model, alongside=True)
    seen: dict[str, float] = {}

    def watch(name: str) -> Any:
        def note(module: Any, given: Any, made: Any) -> None:
            if isinstance(made, torch.Tensor) and made.is_floating_point():
                seen[name] = max(seen.get(name, 0.0), float(made.detach().abs().nan_to_num(torch.inf).max()))

        return note

    hooks = [part.register_forward_hook(watch(name)) for name, part in loaded.model.named_modules() if name]
    try:
        ids = loaded.tokenizer(TEXT, return_tensors="pt").input_ids.to(loaded.device)
        with torch.no_grad():
            loaded.model(input_ids=ids)
    finally:
        for hook in hooks:
            hook.remove()
    where = max(seen, key=seen.__getitem__)
    return seen[where], where


def threads() -> Found:
    """torch and bitsandbytes bring a pool of threads each: do they spin against each other?"""
    import torch
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    packed, state = quantize_4bit(torch.randn(256, 256), quant_type="nf4")
    x = torch.randn(256, 256)
    times = []
    for _ in range(15):
        began = time.perf_counter()
        x @ dequantize_4bit(packed, state)
        times.append(time.perf_counter() - began)
    took = sorted(times)[len(times) // 2]
    said = f"{took * 1e3:.2f} ms for a 4-bit layer on {torch.get_num_threads()} threads"
    return took < SLOW, said, "export OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1, and start Python anew"


def _relative(found: Any, wanted: Any) -> float:
    return float((found.detach().double().cpu() - wanted.detach().double()).norm() / wanted.detach().double().norm())

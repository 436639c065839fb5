"""Checks of the device: 4-bit layers, dtypes, float16's range, and threads."""

import time
from typing import TYPE_CHECKING

from etabli.core import cpu_dtype, machine

if TYPE_CHECKING:
    import torch

TOLERANCE = 0.15  # relative; NF4's own error on Gaussian weights is about 0.1 of their norm
PRECISION = {"float32": 1e-5, "bfloat16": 1e-2, "float16": 2e-3}  # largest relative error of a product of 256 terms
HALF = 65504.0  # float16's largest number
SLOW = 0.02  # seconds for operations that take a tenth of a millisecond when no pool spins against the other
TEXT = "The workbench stood in the middle of the shop, and what was made on it could be seen and tested by anyone."

CheckResult = tuple[bool, str, str]


def device() -> CheckResult:
    """Name the device, and check that this torch has code for it."""
    import torch

    if not torch.cuda.is_available():
        return True, f"cpu: {machine.processor()}, {machine.cores()} cores, computes in {machine.compute_dtype()}", ""
    capability, archs = torch.cuda.get_device_capability(), torch.cuda.get_arch_list()
    detail = f"{torch.cuda.get_device_name()}, capability {capability[0]}.{capability[1]}"
    detail += f", computes in {machine.compute_dtype()}; torch has code for {' '.join(archs)}"
    fix = "pip install --upgrade torch" if capability >= (7, 5) else "choose a T4 or newer card"
    return runs_on(capability, archs), detail, fix


def runs_on(capability: tuple[int, int], archs: list[str]) -> bool:
    """Return whether code for one of ``archs`` runs on a card of this capability.

    Code for a card (``sm_``) runs on later cards of the same generation; PTX (``compute_``) on every later card.
    """
    for arch in archs:
        kind, _, digits = arch.partition("_")
        if not digits.isdecimal():  # sm_90a runs only on that card; gfx1100 is AMD's
            continue
        target = int(digits[:-1]), int(digits[-1])
        same_generation = kind == "sm" and target[0] == capability[0] and target[1] <= capability[1]
        if same_generation or (kind == "compute" and target <= capability):
            return True
    return False


def four_bit() -> CheckResult:
    """Compare a 4-bit layer, forward and backward, with the same layer in full precision."""
    import bitsandbytes as bnb
    import torch

    device_name, dtype = machine.device(), machine.compute_dtype()
    plain = torch.nn.Linear(256, 256, bias=False)
    four = bnb.nn.Linear4bit(256, 256, bias=False, compute_dtype=dtype, quant_type="nf4")
    four.load_state_dict(plain.state_dict())
    four.to(device_name)
    x = torch.randn(64, 256, generator=torch.Generator().manual_seed(0))
    x_device, x_exact = x.clone().to(device_name, dtype).requires_grad_(), x.clone().requires_grad_()
    out, reference = four(x_device), plain(x_exact)
    out.float().square().sum().backward()
    reference.square().sum().backward()
    errors = [_relative_error(out, reference), _relative_error(x_device.grad, x_exact.grad)]
    detail = f"relative error of a 4-bit layer: output {errors[0]:.3f}, gradient {errors[1]:.3f}"
    return max(errors) < 2 * TOLERANCE, detail, "pip install --upgrade bitsandbytes"


def dtypes() -> CheckResult:
    """Compare a product in each dtype with float64, and time it: a dtype that is emulated is slow."""
    import torch

    details, ok = [], True
    for name, tolerance in PRECISION.items():
        error, seconds = _measure_product(getattr(torch, name))
        precise = error < tolerance
        ok &= precise or getattr(torch, name) != machine.compute_dtype()
        details.append(f"{name} off by {error:.1e} in {seconds * 1e3:.1f} ms" + ("" if precise else " (too much)"))
    detail = "; ".join(details) + f"; computes in {str(machine.compute_dtype()).removeprefix('torch.')}"
    return ok, detail + _describe_timings(), "pip install --upgrade torch"


def _describe_timings() -> str:
    """On a CPU, return the timings by which its dtype was chosen."""
    if machine.device() != "cpu":
        return ""
    times = cpu_dtype.seconds(0, machine.threads(), machine.cache_folder())
    figures = ", ".join(f"{name} {seconds * 1e3:.1f} ms" for name, seconds in times.items())
    return f" (a layer of the embedded model: {figures or 'not timed, since the cache cannot be written'})"


def _measure_product(dtype: "torch.dtype") -> tuple[float, float]:
    """Return the relative error of a product of two 256 x 256 matrices, and its time in seconds."""
    import torch

    matrices = torch.randn(2, 256, 256, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a, b = matrices.to(machine.device(), dtype)
    a @ b  # the first product may compile code
    start = time.perf_counter()
    product = (a @ b).cpu()
    return _relative_error(product, a.cpu().double() @ b.cpu().double()), time.perf_counter() - start


def overflow() -> CheckResult:
    """Compare the largest activation of the embedded model in a forward pass with float16's largest number, 65504."""
    from etabli.models import embedded

    if not embedded.is_cached():
        return True, "not tested: the embedded model is not fetched yet", ""
    largest, layer = largest_activation("default")
    half, fits = machine.half_precision(), largest < HALF
    detail = f"largest activation {largest:,.0f} (in {layer}), which float16 {'holds' if fits else 'does NOT hold'}"
    detail += f"; this machine {'computes' if half else 'does not compute'} in float16"
    return fits or not half, detail, "etabli train with another model: this one needs a card that computes in bfloat16"


def largest_activation(model: str) -> tuple[float, str]:
    """Return the largest absolute output of any layer of a model for one sentence, and the name of the layer.

    NaN counts as infinite. In float16 a number beyond its range is infinite too.
    """
    import torch

    from etabli.models import loading

    language_model = loading.load(model, alongside=True, keep_dequantized=False)
    maxima: dict[str, float] = {}

    def record_maximum(name: str, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.is_floating_point():
            maxima[name] = max(maxima.get(name, 0.0), float(output.detach().abs().nan_to_num(torch.inf).max()))

    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: record_maximum(name, output))
        for name, module in language_model.model.named_modules()
        if name
    ]
    try:
        ids = language_model.tokenizer(TEXT, return_tensors="pt").input_ids.to(language_model.device)
        with torch.no_grad():
            language_model.model(input_ids=ids)
    finally:
        for hook in hooks:
            hook.remove()
    layer = max(maxima, key=maxima.__getitem__)
    return maxima[layer], layer


def threads() -> CheckResult:
    """Time a 4-bit layer: it is slow if the thread pools of torch and bitsandbytes hinder each other by spinning."""
    import torch
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    packed, state = quantize_4bit(torch.randn(256, 256), quant_type="nf4")
    x = torch.randn(256, 256)
    times = []
    for _ in range(15):
        start = time.perf_counter()
        x @ dequantize_4bit(packed, state)
        times.append(time.perf_counter() - start)
    median = sorted(times)[len(times) // 2]
    detail = f"{median * 1e3:.2f} ms for a 4-bit layer on {torch.get_num_threads()} threads"
    return median < SLOW, detail, "export OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1, and start Python again"


def _relative_error(value: "torch.Tensor | None", reference: "torch.Tensor | None") -> float:
    assert value is not None and reference is not None, "no gradient"
    exact = reference.detach().double()
    return float((value.detach().double().cpu() - exact).norm() / exact.norm())

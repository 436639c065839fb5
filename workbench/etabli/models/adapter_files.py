"""Check an adapter's folder before anything in it is loaded or copied: safetensors, finite numbers, no links."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from etabli.core import confined, folders, parsing, storage
from etabli.core.errors import Damaged, WrongAdapter
from etabli.models import headers

if TYPE_CHECKING:
    import torch

WEIGHTS = "adapter_model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")  # each can run code when it is opened
CONVERT = "PEFT converts it: PeftModel.from_pretrained(base, folder).save_pretrained(folder, safe_serialization=True)"


def check_files(adapter: str | Path) -> list[Path]:
    """Return the files of an adapter's folder, after checking that they may be read and that its weights are finite.

    Raises:
        OutsideFolder: a link leads outside, or the folder holds a pipe or a device.
        WrongAdapter: the folder has no weights, or pickles only.
        Damaged: the weights can't be read, or hold NaN or infinity.
    """
    files = folders.list_files(adapter)
    weights = Path(adapter) / WEIGHTS
    if weights not in files:
        if unsafe := pickle_files(files):
            raise WrongAdapter(
                f"{adapter} holds no adapter that is read: it has only {unsafe[0].name}, a pickle, which can run code. "
                f"It was not opened. Ask its author for {WEIGHTS}; {CONVERT}."
            )
        raise WrongAdapter(f"{adapter} holds no adapter that is read: it has no {WEIGHTS}. Train or copy it again.")
    require_finite(weights)
    return files


def weights_hash(adapter: str | Path) -> str:
    """Return the sha256 of an adapter's weights, as hex digits.

    Raises:
        WrongAdapter, Damaged, OutsideFolder: as ``check_files``.
    """
    check_files(adapter)
    return storage.sha256(Path(adapter) / WEIGHTS)


def pickle_files(files: list[Path]) -> list[Path]:
    """Return the files that are pickles by their names."""
    return [path for path in files if path.suffix.lower() in PICKLES]


def require_finite(weights: Path) -> None:
    """Refuse weights with NaN or infinity and name the tensor.

    Raises:
        Damaged: there is such a tensor, or the file is no complete safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="pt") as tensors:
            bad = [name for name in tensors.keys() if not _is_finite(tensors.get_tensor(name))]  # noqa: SIM118 (no dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise Damaged(f"{weights} can't be read as safetensors ({error}). Copy it again.") from None
    if bad:
        raise Damaged(
            f"{weights}: {len(bad)} tensors hold NaN or infinity, {bad[0]} first: every answer would be noise. Take an "
            "earlier checkpoint, or train again with a lower learning_rate."
        )


def _is_finite(tensor: "torch.Tensor") -> bool:
    return not tensor.is_floating_point() or bool(tensor.float().isfinite().all())


def tensor_names(adapter: Path) -> list[str]:
    """Return the names of the tensors of an adapter, from the header of its weights."""
    return list(headers.read_header(adapter / WEIGHTS))


def largest_change(adapter: Path) -> float:
    """Return a bound of the change that a LoRA adapter makes to any weight, before alpha: of B times A, in each layer.

    Infinity where it holds anything else (copies of whole modules, magnitudes, biases), which counts as a change.
    """
    from safetensors import safe_open

    with safe_open(adapter / WEIGHTS, framework="pt") as tensors:
        names = set(tensors.keys())
        ups = [name for name in names if ".lora_B" in name or ".lora_embedding_B" in name]
        downs = {name: name.replace("lora_B", "lora_A").replace("lora_embedding_B", "lora_embedding_A") for name in ups}
        if names - set(ups) - set(downs.values()):
            return float("inf")
        pairs = [(up, down) for up, down in downs.items() if down in names]
        return max(
            (_largest_product(tensors.get_tensor(up), tensors.get_tensor(down)) for up, down in pairs), default=0
        )


def _largest_product(up: "torch.Tensor", down: "torch.Tensor") -> float:
    """A bound of the largest entry of B times A: the rank's terms, each at most the largest entries' product."""
    rank = min(down.shape[0], up.shape[-1]) if up.dim() > 1 else 1
    return float(up.abs().max().double() * down.abs().max().double()) * max(1, rank)


def require_fast_patterns(adapter: Path, module_names: list[str], config: Mapping[str, object] | None = None) -> None:
    """Refuse an adapter whose patterns of module names take too long on these names: PEFT would wait for them.

    PEFT matches ``target_modules`` and others as regular expressions. A stranger's may take years, so each is first
    tried on all names in a process that can be ended.

    Args:
        config: the content of its adapter_config.json, if it has been read already.

    Raises:
        WrongAdapter: names the pattern, and what to do.
    """
    if config is None:
        config = parsing.read_json(adapter / "adapter_config.json", parsing.LARGEST_CONFIG, lenient=True)
    for key, pattern in _patterns(config if isinstance(config, dict) else {}):
        try:
            confined.ask("search", pattern, jobs=module_names)
        except (confined.LimitExceeded, confined.ConfinedError) as error:
            raise WrongAdapter(
                f"{adapter}: {key} in its adapter_config.json is a pattern that can't be used ({error}): "
                f"{parsing.short_repr(pattern)}. List the names of the modules there instead, or take another adapter."
            ) from None


def _patterns(config: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Give the key and the regular expression of each pattern that PEFT makes of an adapter's configuration."""
    for key in ("target_modules", "exclude_modules"):
        if isinstance(value := config.get(key), str):
            yield key, rf"\A(?:{value})\Z"
    for key in ("rank_pattern", "alpha_pattern"):
        if isinstance(value := config.get(key), dict):
            yield from ((key, rf"\A(.*\.)?(?:{name})$") for name in value)
    layers = config.get("layers_pattern")
    for name in [layers] if isinstance(layers, str) else layers if isinstance(layers, list) else []:
        yield "layers_pattern", rf"\A.*\.{name}\.(\d+)\."

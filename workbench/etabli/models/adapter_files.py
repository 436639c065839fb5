"""What an adapter's folder may hold before any of it is loaded or copied: safetensors, finite numbers, no links."""

from pathlib import Path

from etabli.core import folders, storage
from etabli.core.errors import Damaged, WrongAdapter

WEIGHTS = "adapter_model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")  # each can run code when it is opened
CONVERT = "PEFT converts it: PeftModel.from_pretrained(base, folder).save_pretrained(folder, safe_serialization=True)"


def check_files(adapter: str | Path) -> list[Path]:
    """The files of an adapter's folder, once it is known that they may be read and that its weights are finite.

    Raises:
        OutsideFolder: a link leads outside, or a pipe or a device lies there; WrongAdapter: its weights are pickles
        alone, or there are none; Damaged: weights that can't be read, or hold NaN or infinity.
    """
    files = folders.files_of(adapter)
    weights = Path(adapter) / WEIGHTS
    if weights not in files:
        pickled = pickles(files)
        what = f"only {pickled[0].name}, a pickle, which can run code" if pickled else f"no {WEIGHTS}"
        remedy = (
            f"It was not opened. Ask its author for {WEIGHTS}; {CONVERT}." if pickled else "Train or copy it again."
        )
        raise WrongAdapter(f"{adapter} holds no adapter that is read: it has {what}. {remedy}")
    require_finite(weights)
    return files


def weights_hash(adapter: str | Path) -> str:
    """The sha256 of an adapter's weights, as hex digits.

    Raises:
        WrongAdapter, Damaged, OutsideFolder: as ``check_files``.
    """
    check_files(adapter)
    return storage.sha256(Path(adapter) / WEIGHTS)


def pickles(files: list[Path]) -> list[Path]:
    """The files whose names say that they are pickles."""
    return [path for path in files if path.suffix.lower() in PICKLES]


def require_finite(weights: Path) -> None:
    """Refuse weights of which a number is NaN or infinite, by the tensor's name.

    Raises:
        Damaged: such a tensor; or the file is no whole safetensors file.
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


def _is_finite(tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.float().isfinite().all())

"""Check an adapter's folder before anything in it is loaded or copied: safetensors, finite numbers, no links."""

from pathlib import Path
from typing import TYPE_CHECKING

from etabli.core import folders, storage
from etabli.core.errors import Damaged, WrongAdapter

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

"""Check the small files and the weight headers of a model's folder before any library parses them."""

import struct
from pathlib import Path
from typing import Any

from etabli.core import parsing
from etabli.core.errors import Damaged

LARGEST_TOKENIZER = 256 * 2**20  # bytes of tokenizer.json; the largest of the well-known ones has 40 million
_CONFIGS = (
    *("config.json", "generation_config.json", "adapter_config.json", "*.index.json"),
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json"),
)
SIZE_LIMITS = dict.fromkeys(_CONFIGS, parsing.LARGEST_CONFIG) | {"tokenizer.json": LARGEST_TOKENIZER}
LARGEST_HEADER = 32 * 2**20  # bytes; the header of a hundred thousand tensors has ten million


def require_valid_files(folder: str | Path) -> None:
    """Refuse a folder with configurations or weight headers that no library should get.

    Raises:
        Damaged: a file is too large, too deep or no JSON, or a weight header does not fit its file.
    """
    config = Path(folder) / "config.json"
    values: object = {}
    for name, limit in SIZE_LIMITS.items():
        for path in sorted(Path(folder).glob(name)):
            value = parsing.read_json(path, limit, lenient=True)
            values = value if path == config else values
    if tensors := sum(len(read_header(path)) for path in sorted(Path(folder).glob("*.safetensors"))):
        _require_so_many_layers(config, values, tensors)


def _require_so_many_layers(config: Path, values: object, tensors: int) -> None:
    """Refuse a configuration with more layers than there are tensors: building such a model may never end."""
    for part in (values, values.get("text_config") if isinstance(values, dict) else None):
        layers = part.get("num_hidden_layers") if isinstance(part, dict) else None
        if isinstance(layers, int) and layers > tensors:
            raise Damaged(f"{config} says {layers:,} layers, and its weights hold {tensors:,} tensors: it is forged.")


def read_header(path: Path) -> dict[str, Any]:
    """Return the tensors of a safetensors file: name -> its dtype, shape and place.

    Raises:
        Damaged: the header has not the length it says, or its tensors do not fill the rest of the file without gaps.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > min(LARGEST_HEADER, size - 8):
            raise Damaged(f"{path} is cut off or forged: its header says {length:,} bytes, of a file of {size:,}.")
        header = parsing.parse_json(file.read(length), f"The header of {path}", lenient=True)
    if not isinstance(header, dict) or _tensors_end(header) != size - 8 - length:
        raise Damaged(f"{path} is cut off or forged: its tensors do not fill the file of {size:,} bytes.")
    return {name: entry for name, entry in header.items() if name != "__metadata__"}


def _tensors_end(header: dict[str, Any]) -> int | None:
    """Return where the last tensor ends; None if the header is malformed."""
    try:
        spans = sorted(tuple(entry["data_offsets"]) for name, entry in header.items() if name != "__metadata__")
        starts, ends = [0, *(end for _, end in spans)], [start for start, _ in spans]
        is_valid = all(isinstance(place, int) for span in spans for place in span) and starts[:-1] == ends
    except (TypeError, KeyError, ValueError):
        return None
    return starts[-1] if is_valid else None

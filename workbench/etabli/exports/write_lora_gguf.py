"""Write an adapter alone as GGUF: run by ``gguf_file`` in a process of its own, beside llama.cpp's converter.

    python -m etabli.exports.write_lora_gguf BASE_FOLDER UPDATES.safetensors TO.gguf

``UPDATES.safetensors`` holds for each adapted matrix NAME of the base ``NAME.lora_a`` (rank, inputs) and
``NAME.lora_b`` (outputs, rank), the adapter's scaling within ``lora_b``. The converter of the base's architecture says
what a matrix is called in GGUF and how its outputs are ordered there (llama.cpp orders the rows of Llama's queries and
keys otherwise).
"""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

BLOCK = re.compile(r"\.(\d+)\.")


def main(base: str, updates: str, target: str) -> None:
    """Read the folder ``base`` and the file ``updates``, and write ``target``."""
    import gguf
    import torch
    from conversion import ModelBase, get_model_architecture, get_model_class
    from conversion.base import ModelType
    from safetensors.torch import load_file

    tensors = load_file(updates)
    hparams = ModelBase.load_hparams(Path(base), False)
    converter_class = get_model_class(get_model_architecture(hparams, ModelType.TEXT))
    with torch.inference_mode():
        converter = converter_class(Path(base), gguf.LlamaFileType.ALL_F32, Path(target))
        writer = gguf.GGUFWriter(target, gguf.MODEL_ARCH_NAMES[converter.model_arch])
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", 1.0)
        for name in sorted(key.removesuffix(".lora_a") for key in tensors if key.endswith(".lora_a")):
            matrix, rows = _in_gguf(converter, f"{name}.weight", tensors[f"{name}.lora_b"])
            # llama.cpp scales by alpha / rank; alpha is 1, so the rank is multiplied into the values.
            writer.add_tensor(f"{matrix}.lora_a", tensors[f"{name}.lora_a"].float().numpy())
            writer.add_tensor(f"{matrix}.lora_b", (rows.float() * rows.shape[1]).contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _in_gguf(converter: Any, name: str, outputs: "torch.Tensor") -> "tuple[str, torch.Tensor]":
    """Return a matrix's name in GGUF, and the rows of its update in GGUF's order."""
    block = BLOCK.search(name)
    made = list(converter.modify_tensors(outputs, name, int(block[1]) if block else None))
    if len(made) != 1 or made[0][1].shape != outputs.shape:
        sys.exit(f"{name} is not one matrix in GGUF: this adapter can't stand alone there; export --to gguf merges it")
    return str(made[0][0]), made[0][1]


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Write a GGUF file of 16 bits again in about 4, 5 or 6 bits: run by ``gguf_file`` in a process of its own.

    python -m etabli.exports.quantise_gguf FROM.gguf TO.gguf q4_k_m

The values are computed by llama.cpp's own ``ggml_quantize_chunk``, which the library of ``xllamacpp`` exports. Its
program ``llama-quantize`` is in no wheel, so the choice of a type for each matrix is here: that of llama.cpp's
``llama_tensor_get_type`` (github.com/ggml-org/llama.cpp, src/llama-quant.cpp) for dense models without an importance
matrix, but for its exception of models with 70 billion parameters. One matrix is in memory at a time.
"""

import ctypes
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The type of most matrices, and of those where errors cost most (the head, some of the values and of the ways down).
TYPES = {"q4_k_m": ("Q4_K", "Q6_K"), "q5_k_m": ("Q5_K", "Q6_K"), "q6_k": ("Q6_K", "Q6_K")}
FUSED = {"Q4_K": "Q5_K", "Q5_K": "Q6_K", "Q6_K": "Q6_K"}  # of queries, keys and values in one matrix
# K types hold rows in blocks of 256; a row of another length gets the type with blocks of 32 that llama.cpp takes.
SMALL_BLOCKS = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
KEPT = re.compile(
    r"norm|ffn_gate_inp|position_embd|token_types|ssm_conv1d|shortconv\.conv|time_mix|altup|laurel|per_layer_model"
)
LAYER = re.compile(r"blk\.(\d+)\.")


def choose_type(name: str, row: int, dimensions: int, quant: str, layers: int, is_tied: bool) -> str | None:
    """Return the GGML type of a tensor; None if it keeps its own.

    Args:
        name: in GGUF, as ``blk.0.attn_v.weight``.
        row: values in a row. dimensions: of the tensor; vectors are kept.
        quant: one of ``TYPES``.
        layers: of the model.
        is_tied: whether the model has no head of its own: the embeddings serve as head.
    """
    if dimensions < 2 or not name.endswith("weight") or KEPT.search(name):
        return None
    usual, careful = TYPES[quant]
    found = LAYER.match(name)
    if name == "output.weight" or (is_tied and name == "token_embd.weight"):
        kind = "Q6_K"
    elif "attn_qkv" in name:
        kind = FUSED[usual]
    elif ("attn_v." in name or "ffn_down" in name) and found and _needs_more(int(found[1]), layers):
        kind = careful
    else:
        kind = usual
    if row % 256:
        kind = SMALL_BLOCKS[kind]
    return None if row % 32 else kind


def _needs_more(layer: int, layers: int) -> bool:
    """Say whether a layer is in the first or last eighth, or each third one between."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def main(source: str, target: str, quant: str) -> None:
    """Read the file ``source``, and write ``target``."""
    import gguf

    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    layers = int(reader.fields[f"{architecture}.block_count"].contents())
    is_tied = all(tensor.name != "output.weight" for tensor in reader.tensors)
    writer = gguf.GGUFWriter(target, architecture)
    _copy_facts(reader, writer, quant)
    kinds: list[str | None] = []
    for tensor in reader.tensors:
        shape = [int(size) for size in reversed(tensor.shape)]
        kind = choose_type(tensor.name, shape[-1], len(shape), quant, layers, is_tied)
        kinds.append(kind)
        type_ = tensor.tensor_type if kind is None else gguf.GGMLQuantizationType[kind]
        block, size = gguf.GGML_QUANT_SIZES[type_]
        count = int(tensor.n_elements) // block * size
        writer.add_tensor_info(tensor.name, shape, "f4", count, type_)  # bytes of bf16 would be taken for a shape
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor, kind in zip(reader.tensors, kinds):
        writer.write_tensor_data(tensor.data if kind is None else _quantise(tensor, kind))
    writer.close()


def _copy_facts(reader: Any, writer: Any, quant: str) -> None:
    """Copy a file's metadata, but for what says how its values are held."""
    import gguf

    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        sub_type = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), field.types[0], sub_type=sub_type)
    file_type = {"q4_k_m": "MOSTLY_Q4_K_M", "q5_k_m": "MOSTLY_Q5_K_M", "q6_k": "MOSTLY_Q6_K"}[quant]
    writer.add_file_type(gguf.LlamaFileType[file_type])


def _quantise(tensor: Any, kind: str) -> "NDArray[np.uint8]":
    """Return the bytes of a tensor's rows in a type."""
    import gguf
    import numpy as np

    values = np.ascontiguousarray(gguf.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
    return quantise_rows(values.reshape(-1, values.shape[-1]), kind)


def quantise_rows(values: "NDArray[np.float32]", kind: str) -> "NDArray[np.uint8]":
    """Return rows of float32 (rows, columns) in a GGML type, as bytes (rows, bytes of a row), by llama.cpp.

    Raises:
        OSError: the library of xllamacpp exports no such function.
        ValueError: it wrote another number of bytes than the type takes.
    """
    import gguf
    import numpy as np
    import xllamacpp.xllamacpp

    type_ = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[type_]
    rows, columns = values.shape
    made = np.empty((rows, columns // block * size), dtype=np.uint8)
    library = ctypes.CDLL(xllamacpp.xllamacpp.__file__)
    try:
        quantise = library.ggml_quantize_chunk
    except AttributeError as error:
        raise OSError(f"this xllamacpp has no ggml_quantize_chunk ({error})") from None
    quantise.restype = ctypes.c_size_t
    quantise.argtypes = (
        *(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p),
        *(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p),
    )
    written = quantise(int(type_), values.ctypes.data, made.ctypes.data, 0, rows, columns, None)
    if written != made.nbytes:
        raise ValueError(f"llama.cpp wrote {written:,} bytes of {kind}; {made.nbytes:,} were expected")
    return made


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3])

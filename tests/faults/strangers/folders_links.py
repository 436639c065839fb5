"""Folders whose files are links, pipes, devices, or names that lead out of them."""

import json
import os
import shutil
from pathlib import Path

from strangers.folders import ADAPTER_USERS, RUN_READERS, edit_json, edit_yaml, hostile, link, remove, unfinished
from strangers.watch import SECRET

FILES = {
    "recipe.yaml": ("runs", "evaluate", "film", "export"),
    "events.jsonl": ("runs", "film", "overlay", "widgets"),
    "results.json": ("evaluate --from-log", "arena", "widgets"),
    "process.json": ("runs", "film"),
    "log.txt": ("widgets", "report"),
    "chat.jsonl": ("chat",),
    "pins.jsonl": ("film", "film --pin"),
    "votes/ann.jsonl": ("arena", "votes pool"),
    "token_diff.json": ("token-diff",),
    "adapter/adapter_config.json": ("export", "evaluate"),
    "adapter/MANIFEST.json": ("export",),
    "adapter/adapter_model.safetensors": ("export", "chat PROMPT"),
    "adapter/README.txt": ("export",),
}


def _special(name: str, make: str) -> None:
    @hostile(f"{make}: {name}", *FILES[name])
    def spoil(folder: Path) -> None:
        path = folder / "home" / "run" / name
        if name == "log.txt":
            unfinished(folder)
        remove(path)
        if make == "pipe":
            os.mkfifo(path)
        elif make == "device":
            path.symlink_to("/dev/zero")
        elif make == "sparse":
            with path.open("wb") as file:
                file.truncate(2**33)
        else:
            path.symlink_to(folder / "outside" / ("secret.json" if path.suffix == ".json" else "rows.jsonl"))


for _name in FILES:
    for _make in ("pipe", "device", "sparse", "link"):
        if (_name, _make) != ("adapter/README.txt", "sparse"):  # a large file is copied, which takes its time
            _special(_name, _make)


@hostile("link in the adapter to a file outside", "export")
def _(folder: Path) -> None:
    link(folder / "home" / "run" / "adapter" / "notes.txt", folder / "outside" / "secret.txt")


@hostile("adapter is a link to a folder outside", *ADAPTER_USERS)
def _(folder: Path) -> None:
    adapter = folder / "home" / "run" / "adapter"
    shutil.copytree(adapter, folder / "outside" / "adapter")
    (folder / "outside" / "adapter" / "notes.txt").write_text(SECRET)
    link(adapter, folder / "outside" / "adapter")


@hostile("hard link to somebody else's file in the adapter", "export")
def _(folder: Path) -> None:
    secret = folder / "outside" / "secret.txt"
    if os.geteuid() == 0:
        os.chown(secret, 65534, 65534)
    os.link(secret, folder / "home" / "run" / "adapter" / "notes.txt")


@hostile("checkpoint is a link to a folder outside", "evaluate", "export", "chat PROMPT")
def _(folder: Path) -> None:
    run = folder / "home" / "run"
    newest = sorted((run / "checkpoints").iterdir())[-1]
    shutil.copytree(newest, folder / "outside" / newest.name)
    link(newest, folder / "outside" / newest.name)
    remove(run / "adapter")


@hostile("folders that link to each other", *RUN_READERS)
def _(folder: Path) -> None:
    run = folder / "home" / "run"
    (run / "adapter" / "loop").symlink_to(run / "adapter")
    (run / "checkpoints" / "step-000099").symlink_to(run)


def _written(name: str, *steps: str, there: bool = True) -> None:
    """A link where a command writes: into ``outside/bashrc``, or to make a file there."""

    @hostile(f"a command writes through a link to {'a file' if there else 'nothing'}: {name}", *steps)
    def spoil(folder: Path) -> None:
        if name in ("log.txt", "lock", "stop", "process.json"):
            unfinished(folder)
        link(
            folder / "home" / name if "/" in name else folder / "home" / "run" / name,
            folder / "outside" / ("bashrc" if there else "made"),
        )


for _target in (True, False):
    _written("evaluating.json", "evaluate", there=_target)
    _written("chat.jsonl", "chat PROMPT", there=_target)
    _written("pins.jsonl", "film --pin", there=_target)
    _written("votes/ann.jsonl", "arena", there=_target)
    _written("votes/.ann.jsonl.lock", "arena", there=_target)
    _written(".pins.jsonl.lock", "film --pin", there=_target)
    _written("token_diff.json", "token-diff --again", there=_target)
    _written("results.json", "evaluate", there=_target)
    _written("log.txt", "resume", there=_target)
    _written("lock", "resume", there=_target)
    _written("process.json", "resume", there=_target)
    _written("../decisions.jsonl", "data decide", there=_target)


@hostile("votes is a link to a folder outside", "arena")
def _(folder: Path) -> None:
    link(folder / "home" / "run" / "votes", folder / "outside")


@hostile("checkpoints is a link to a folder outside", "resume", "runs", "chat PROMPT")
def _(folder: Path) -> None:
    unfinished(folder)
    run = folder / "home" / "run"
    shutil.move(run / "checkpoints", folder / "outside" / "checkpoints")
    (run / "checkpoints").symlink_to(folder / "outside" / "checkpoints")
    remove(run / "adapter")


# --- names ----------------------------------------------------------------------------------------------------------

NAMES = ("../../outside/secret.txt", "{outside}/secret.txt", "..\\..\\outside\\secret.txt", "C:\\secret.txt", "x\x00y")


def _manifest(place: str, name: str, *steps: str) -> None:
    @hostile(f"{place} names {name!r}", *steps)
    def spoil(folder: Path) -> None:
        path = folder / "home" / place
        facts = json.loads(path.read_text())
        facts["files"][name.format(outside=folder / "outside")] = {"size": 3 * (len(SECRET) + 1), "sha256": "0" * 64}
        path.write_text(json.dumps(facts))


for _name in NAMES:
    _manifest("run/adapter/MANIFEST.json", _name, "export", "evaluate")
    _manifest("data/manifest.json", _name, "evaluate")


def _mapping(file: str, name: str) -> None:
    @hostile(
        f"{file} maps {name!r}", "data check mapping" if file.endswith("json") else "data check axolotl", refused=True
    )
    def spoil(folder: Path) -> None:
        target = name.format(outside=folder / "outside")
        path = folder / "home" / file
        if file.endswith(".json"):
            path.write_text(json.dumps({"mine": {"file_name": target, "columns": {"prompt": "prompt"}}}))
        else:
            path.write_text(json.dumps({"datasets": [{"path": target, "type": "chat_template"}]}))


for _file in ("dataset_info.json", "axolotl.yaml"):
    for _name in ("../outside/rows.jsonl", "{outside}/rows.jsonl", "linked.jsonl"):
        _mapping(_file, _name)


@hostile("a mapped file is a link to outside", "data check mapping", refused=True)
def _(folder: Path) -> None:
    link(folder / "home" / "alpaca.json", folder / "outside" / "rows.jsonl")


@hostile("the data's rows.parquet is a link to outside", "evaluate", "chat PROMPT")
def _(folder: Path) -> None:
    shutil.move(folder / "home" / "data" / "rows.parquet", folder / "outside" / "rows.parquet")
    (folder / "home" / "data" / "rows.parquet").symlink_to(folder / "outside" / "rows.parquet")


def _recipe(key: str, value: str, *steps: str) -> None:
    @hostile(f"the run's recipe says {key}: {value}", *steps)
    def spoil(folder: Path) -> None:
        unfinished(folder)
        far = _far(folder)
        value_here = value.format(outside=folder / "outside", far=far, far_name=far.name)
        edit_yaml(folder / "home" / "run" / "recipe.yaml", frozen=None, **{key: value_here})


def _far(folder: Path) -> Path:
    """A folder with the rows of ``outside``, above what a run's recipe may read (two folders above the run)."""
    far = folder.with_name(f"{folder.name}-far")
    far.mkdir(exist_ok=True)
    os.link(folder / "outside" / "rows.jsonl", far / "rows.jsonl")  # the watcher knows the file by its inode
    return far


for _value in ("../../../{far_name}/rows.jsonl", "{far}/rows.jsonl", "/etc/passwd", "/dev/zero", "~/x"):
    _recipe("data", _value, "evaluate", "compare", "chat PROMPT", "resume")
_recipe("eval_data", "{far}/rows.jsonl", "resume")
_recipe("mirror", "{outside}", "resume")
_recipe("model", "{outside}", "evaluate", "memory")


@hostile("the curation recipe writes decisions outside", "data decide")
def _(folder: Path) -> None:
    edit_yaml(folder / "home" / "curation.yaml", decisions="../outside/bashrc")


@hostile("weights that the index has outside", "data tokens --loss", "train", refused=True)
def _(folder: Path) -> None:
    model = folder / "home" / "model"
    shutil.copyfile(model / "model.safetensors", folder / "outside" / "model.safetensors")
    remove(model / "model.safetensors")
    names = dict.fromkeys(("model.embed_tokens.weight", "model.norm.weight"), "../../outside/model.safetensors")
    (model / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))


@hostile("the adapter is for a base that lies outside", *ADAPTER_USERS, refused=True)
def _(folder: Path) -> None:
    adapter = folder / "home" / "run" / "adapter"
    edit_json(adapter / "adapter_config.json", base_model_name_or_path=str(folder / "outside"))
    edit_json(adapter / "base.json", name=str(folder / "outside"), hash="0" * 64)

"""Hostile folders: each takes a valid home and spoils one thing. ``steps`` are the commands that meet it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from strangers import texts

RUN_READERS = ("runs", "film", "chat", "arena", "token-diff", "evaluate --from-log", "overlay", "export")
MODEL_READERS = ("memory MODEL", "data tokens", "data check --model", "data tokens --loss")
ADAPTER_USERS = (
    "export",
    "evaluate",
    "chat PROMPT",
    "export merged",
    "token-diff --again",
    "compare",
    "arena --prompts",
)


@dataclass(frozen=True)
class Hostile:
    """One hostile folder. ``refused``: a command that ends with 0 has accepted what it must not."""

    name: str
    spoil: Callable[[Path], None]
    steps: tuple[str, ...]
    refused: bool = False


HOSTILE: list[Hostile] = []


def hostile(name: str, *steps: str, refused: bool = False) -> Callable:
    """Register a function of a job's folder."""

    def register(spoil: Callable[[Path], None]) -> Callable[[Path], None]:
        HOSTILE.append(Hostile(name, spoil, steps, refused))
        return spoil

    return register


# --- tools ----------------------------------------------------------------------------------------------------------


def link(path: Path, target: Path) -> None:
    """Put a symbolic link in a file's place."""
    remove(path)
    path.symlink_to(target)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there; make its parent."""
    import shutil

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def edit_json(path: Path, **keys: object) -> None:
    """Set keys of a JSON file, and seal the manifest beside it."""
    texts.write(path, texts.read(path) | keys)


def edit_yaml(path: Path, **keys: object) -> None:
    """Set keys of a YAML file; None removes one."""
    said = yaml.safe_load(path.read_text()) | keys
    path.write_text(yaml.safe_dump({key: value for key, value in said.items() if value is not None}))


def unfinished(folder: Path) -> None:
    """Make the run one that was stopped: its last event says so."""
    path = folder / "home" / "run" / "events.jsonl"
    lines = path.read_text().splitlines()
    ended = json.loads(lines[-1])
    path.write_text("\n".join([*lines[:-1], json.dumps(ended | {"state": "stopped"})]) + "\n")


def reseal(folder: Path) -> None:
    """Make a folder's manifest true of all that lies in it."""
    manifest = folder / "MANIFEST.json"
    facts = json.loads(manifest.read_text())
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path != manifest]
    facts["files"] = dict.fromkeys(names)
    manifest.write_text(json.dumps(facts))
    texts.seal(manifest)

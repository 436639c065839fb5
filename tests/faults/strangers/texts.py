"""Every text of a file, by where it stands, and a file with some of them replaced."""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from etabli.core.contracts import MANIFEST

Place = tuple[str, ...]  # keys on the way; a list's places are all "*", a key's own name ends in "!"
Replace = Callable[[Any, Place], Any]
READABLE = (".json", ".jsonl", ".yaml", ".yml", ".csv", ".txt", ".md", ".ipynb")


def read(path: Path) -> Any:
    """A file as plain values."""
    text = path.read_text(encoding="utf-8")
    if path.suffix in (".json", ".ipynb"):
        return json.loads(text)
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    if path.suffix in (".yaml", ".yml"):
        return yaml.safe_load(text)
    if path.suffix == ".csv":
        return list(csv.reader(io.StringIO(text)))
    return text.split("\n\n")


def write(path: Path, value: Any) -> None:
    """The reverse; a manifest beside it is sealed again, as a stranger would."""
    path.write_bytes(_text(path.suffix, value).encode("utf-8", "surrogatepass"))
    for manifest in (path.parent / MANIFEST, path.parent / "manifest.json"):
        if manifest.is_file() and manifest != path:
            seal(manifest)


def _text(suffix: str, value: Any) -> str:
    if suffix in (".json", ".ipynb"):
        return json.dumps(value, ensure_ascii=False)
    if suffix == ".jsonl":
        return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in value)
    if suffix in (".yaml", ".yml"):
        return yaml.safe_dump(value, allow_unicode=False, sort_keys=False, width=10**9)
    if suffix == ".csv":
        lines = io.StringIO()
        csv.writer(lines).writerows(value)
        return lines.getvalue()
    return "\n\n".join(map(str, value))


def seal(manifest: Path) -> None:
    """Make a manifest true of the files beside it."""
    facts = json.loads(manifest.read_text(encoding="utf-8"))
    for name in facts.get("files", {}):
        if (manifest.parent / name).is_file():
            body = (manifest.parent / name).read_bytes()
            facts["files"][name] = {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body)}
    manifest.write_text(json.dumps(facts), encoding="utf-8")


def leaves(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every value that is no mapping or list, and every key, with its place."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*place, f"{key}!"), str(key)
            yield from leaves(inner, (*place, str(key)))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, (*place, "*"))
    else:
        yield place, value


def replaced(value: Any, replace: Replace, place: Place = ()) -> Any:
    """A copy in which ``replace(value, place)`` stands for every leaf and key."""
    if isinstance(value, dict):
        return {
            str(replace(str(key), (*place, f"{key}!"))): replaced(inner, replace, (*place, str(key)))
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [replaced(inner, replace, (*place, "*")) for inner in value]
    return replace(value, place)


Group = tuple[Place, ...]


def groups(value: Any) -> dict[Group, list[Any]]:
    """Values by all the places where each stands: what has to change together for a file to hold together."""
    where: dict[Any, dict[Place, None]] = {}
    for place, leaf in leaves(value):
        where.setdefault(leaf if isinstance(leaf, str) else (place, "number"), {})[place] = None
    together: dict[Group, list[Any]] = {}
    for leaf, places in where.items():
        together.setdefault(tuple(sorted(places)), []).append(leaf)
    return together


def spots(value: Any) -> list[Group]:
    """Every group, and every place of one with several, by itself; a key is nothing by itself."""
    together = groups(value)
    single = {(place,) for group in together if len(group) > 1 for place in group if not place[-1].endswith("!")}
    return [*together, *sorted(single - set(together))]


def planted(value: Any, plan: dict[Group, Callable[[int], Any]]) -> Any:
    """A copy in which the values of each group are ``texts(0)``, ``texts(1)``, …, each everywhere the same.

    Of a group that is one place of several, whatever stands there is ``texts(0)``.
    """
    together = groups(value)
    words: dict[str, Any] = {}
    places = {group[0]: plan[group](0) for group in plan if group not in together}
    for group in plan.keys() & together.keys():
        for order, leaf in enumerate(together[group]):
            if isinstance(leaf, str):
                words[leaf] = plan[group](order)
            else:
                places[leaf[0]] = plan[group](order)

    def replace(leaf: Any, place: Place) -> Any:
        return places[place] if place in places else words.get(leaf, leaf) if isinstance(leaf, str) else leaf

    return replaced(value, replace)

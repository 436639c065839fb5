"""Plants hostile texts in a job's home, and puts the home back as it was."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from strangers import texts
from strangers.payloads import APART, TOGETHER, TYPED, Canary, cocktails, text_of

GROUPS = 10_000  # a canary's number is round * GROUPS + the group's place in the list


def plant(folder: Path, what: dict[str, Any]) -> str:
    """Put the home back as it was, plant this, and return what the attack is called."""
    _restore(folder)
    if "round" in what:
        _round(folder, what["round"], what["groups"])
    elif "file" in what:
        _alone(folder, what)
    return what["attack"]


def _restore(folder: Path) -> None:
    """Every small file is the valid one again, and ``out`` is empty."""
    for path in (folder / "pristine").rglob("*"):
        if path.is_file() and path.stat().st_size < 2**20 and path.name != "evil.py":
            shutil.copyfile(path, folder / "home" / path.relative_to(folder / "pristine"))
    shutil.rmtree(folder / "out", ignore_errors=True)
    (folder / "out").mkdir()


def keep_pages(folder: Path, attack: str) -> None:
    """Put pages and widgets' states aside, for the browser."""
    for path in [*(folder / "out").glob("*.html"), *(folder / "out").glob("*.state")]:
        place = folder / "pages" / attack.replace("/", "|") / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)


def _round(folder: Path, number: int, listed: list[tuple[str, texts.Group]]) -> None:
    """Every free group of every file gets the next kind: in as many rounds as there are kinds each gets all."""
    plans: dict[str, dict[texts.Group, Callable[[int], Any]]] = {}
    for place, (name, group) in enumerate(listed):
        kind = kind_at(number, place)
        canary = Canary(number * GROUPS + place, folder / "marks")
        plans.setdefault(name, {})[group] = _numbered(text_of(kind, canary))
    for name, plan in plans.items():
        path = folder / "home" / name
        texts.write(path, texts.planted(texts.read(folder / "pristine" / name), plan))


def kind_at(number: int, place: int) -> str:
    """Which kind a spot gets in a round; in the rounds after the last every spot gets what stands apart."""
    last = len(TOGETHER)
    return TOGETHER[(number + place) % last] if number < last else APART[number - last]


def _numbered(text: str) -> Callable[[int], str]:
    """The same text, told apart where several values of one group must stay different."""
    return lambda order: text if order == 0 else f"{text} {order}"


def _alone(folder: Path, what: dict[str, Any]) -> None:
    name, group = what["file"], what["group"]
    canary = Canary(what["number"], folder / "marks")
    if "typed" in what:
        value = TYPED[what["typed"]](cocktails(canary)[0])
        make = lambda order: value  # noqa: E731
    elif "cocktail" in what:
        make = _numbered(cocktails(canary)[what["cocktail"]])
    elif "kind" in what:
        make = _numbered(text_of(what["kind"], canary))
    else:
        make = _numbered("benign:7/x")  # signs that make a path or an entry of a text, if it is one
    texts.write(folder / "home" / name, texts.planted(texts.read(folder / "pristine" / name), {group: make}))

"""Recipes in YAML: read as mappings, and all their mistakes said at once."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etabli.core import parsing, storage
from etabli.core.errors import BadRecipe
from etabli.core.secrets import cover_secrets_in

if TYPE_CHECKING:
    from pydantic import ValidationError

MOST_MISTAKES = 100  # are listed; a recipe has fewer keys


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The keys of a recipe file.

    Raises:
        BadRecipe: no file, no YAML, or YAML that is not a mapping.
    """
    try:
        keys = parsing.read_yaml(path)
    except FileNotFoundError:
        raise BadRecipe(["there is no such file"], str(path)) from None
    except (OSError, parsing.ParseError) as error:
        why = str(getattr(error, "strerror", None) or error).removeprefix(str(path)).strip(": ")
        raise BadRecipe([why if why.startswith(("it ", "the ")) else f"it {why}"], str(path)) from None
    if not isinstance(keys, dict) or not all(isinstance(key, str) for key in keys):
        raise BadRecipe(["it holds no mapping of keys to values"], str(path))
    return keys


def write_yaml(path: str | Path, keys: dict[str, Any], also: dict[str, Any] | None = None) -> None:
    """Write a recipe file; ``also``: sections that are no keys of the person's.

    Raises:
        BadRecipe: a key holds a secret. Covered, it could not be run again; as it is, whoever gets the file has it.
    """
    import yaml

    if secret := [key for key, value in keys.items() if cover_secrets_in({key: value}) != {key: value}]:
        advice = "holds a password, key or token, which the file would give away. Put it into an environment variable"
        raise BadRecipe([f"{key}: {advice}" for key in secret], str(path))
    storage.write_text(path, yaml.safe_dump(keys | (also or {}), sort_keys=False, allow_unicode=True))


def mistakes(error: "ValidationError", known: Sequence[str], unsaid: Sequence[str] = ("str",)) -> list[str]:
    """Every mistake pydantic found, as ``key: what is wrong``; a key that is nearly one of ``known`` is guessed.

    ``unsaid`` are names of types that pydantic puts between keys and that mean nothing to a reader.
    """
    errors = error.errors(include_url=False)
    more = len(errors) - MOST_MISTAKES
    listed = [_mistake(item, known, unsaid) for item in errors[:MOST_MISTAKES]]
    return [*listed, f"and {more} more"] if more > 0 else listed


def _mistake(item: dict[str, Any], known: Sequence[str], unsaid: Sequence[str]) -> str:
    key = ".".join(str(part)[: parsing.MOST_SHOWN] for part in item["loc"] if part not in unsaid)
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, known, n=1) or difflib.get_close_matches(key.split(".")[-1], known, n=1)
        return f"{key}: no such key" + (f"; did you mean {near[0]}?" if near else "")
    if item["type"] == "missing":
        return f"{key}: missing, and it has no default"
    said = item["msg"].removeprefix("Value error, ")
    return f"{key}: {said}, not {parsing.short_repr(item['input'])}" if key else said

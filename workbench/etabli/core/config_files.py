"""Recipe files in YAML: read and write them, and list all their mistakes at once."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etabli.core import parsing, storage
from etabli.core.errors import BadRecipe
from etabli.core.secrets import cover_secrets_in

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

MOST_MISTAKES = 100  # mistakes that are listed; a recipe has fewer keys


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Return the keys of a recipe file.

    Raises:
        BadRecipe: there is no such file, or it is not YAML, or not a mapping.
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


def write_yaml(path: str | Path, keys: Mapping[str, object], sections: Mapping[str, object] | None = None) -> None:
    """Write a recipe file.

    Args:
        keys: the person's keys; sections: further sections, which are not looked through for secrets.

    Raises:
        BadRecipe: a key holds a secret. With the secret covered, the recipe could not be run again.
    """
    import yaml

    if secret_keys := [key for key, value in keys.items() if cover_secrets_in({key: value}) != {key: value}]:
        advice = "holds a password, key or token, which the file would reveal. Put it into an environment variable"
        raise BadRecipe([f"{key}: {advice}" for key in secret_keys], str(path))
    storage.write_text(path, yaml.safe_dump({**keys, **(sections or {})}, sort_keys=False, allow_unicode=True))


def list_mistakes(
    error: "ValidationError",
    key_names: Sequence[str],
    type_names: Sequence[str] = ("str",),
    advice: Mapping[str, str] | None = None,
) -> list[str]:
    """Return every mistake that pydantic found, as ``key: what is wrong``.

    Args:
        key_names: the keys that exist; the closest one is suggested for an unknown key.
        type_names: names of types that pydantic puts between keys; they are left out.
        advice: what is said of keys that other programs have: the rest of a sentence that begins with the key.
    """
    errors = error.errors(include_url=False)
    more = len(errors) - MOST_MISTAKES
    mistakes = [_describe_mistake(item, key_names, type_names, advice or {}) for item in errors[:MOST_MISTAKES]]
    return [*mistakes, f"and {more} more"] if more > 0 else mistakes


def _describe_mistake(
    item: "ErrorDetails", key_names: Sequence[str], type_names: Sequence[str], advice: Mapping[str, str]
) -> str:
    key = ".".join(str(part)[: parsing.MOST_SHOWN] for part in item["loc"] if part not in type_names)
    if item["type"] == "extra_forbidden" and key in advice:
        return f"{key}: no such key; it {advice[key]}"
    if item["type"] == "extra_forbidden":
        matches = [
            *difflib.get_close_matches(key, key_names),
            *difflib.get_close_matches(key.split(".")[-1], key_names),
        ]
        return f"{key}: no such key" + (f"; did you mean {matches[0]}?" if matches else "")
    if item["type"] == "missing":
        return f"{key}: missing, and it has no default"
    message = item["msg"].removeprefix("Value error, ")
    return f"{key}: {message}, not {parsing.short_repr(item['input'])}" if key else message

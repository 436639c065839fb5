"""Check the values of an adapter's configuration, which a stranger wrote, before PEFT computes with them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from etabli.core import parsing
from etabli.core.errors import WrongAdapter

CONFIG = "adapter_config.json"


class _Rule(NamedTuple):
    """What a value has to be, in words and as a function."""

    words: str
    holds: Callable[[object], bool]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _is_rank(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_names(value: object) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(name, str) for name in value))


def _is_mapping_of(holds: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or (isinstance(value, dict) and all(map(holds, value.values())))


_RULES = {
    "r": _Rule("a whole number above 0", _is_rank),
    "lora_alpha": _Rule("a number", _is_number),
    "lora_dropout": _Rule("a number from 0 to 1", lambda value: _is_number(value) and 0 <= float(str(value)) <= 1),
    "rank_pattern": _Rule("an object of names and whole numbers above 0", _is_mapping_of(_is_rank)),
    "alpha_pattern": _Rule("an object of names and numbers", _is_mapping_of(_is_number)),
    "target_modules": _Rule("a text or a list of texts", lambda value: isinstance(value, str) or _is_names(value)),
    "modules_to_save": _Rule("a list of texts", _is_names),
    "bias": _Rule("none, all or lora_only", lambda value: value in ("none", "all", "lora_only")),
}


def require_valid_values(folder: Path, values: Mapping[str, object]) -> None:
    """Refuse a configuration with a value that is none: it names the key, the value, and what has to stand there.

    Raises:
        WrongAdapter: as said.
    """
    for key, rule in _RULES.items():
        if key in values and not rule.holds(values[key]):
            raise WrongAdapter(
                f"{folder}: {key} is {parsing.short_repr(values[key])} in its {CONFIG}, and has to be {rule.words}. "
                "Copy the adapter again, or write the value that it was trained with."
            )

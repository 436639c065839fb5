"""The names of a model's modules, read from the headers of its weight files: no library, no weights."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from etabli.core import confined, parsing
from etabli.core.errors import BadRecipe
from etabli.models.headers import read_header

ALL_LINEAR = "all-linear"
HEAD = "lm_head"
MATRIX = 2  # dimensions of a weight that an adapter can be put beside


def list_modules(folder: Path) -> list[str]:
    """Return the names of the modules with a weight matrix, as ``model.layers.0.self_attn.q_proj``, sorted.

    They are the names in the safetensors files; a library may put another prefix before them. A head that shares the
    embeddings' matrix is in no file, and is added.

    Raises:
        Damaged: a file is cut off or forged.
    """
    dimensions = _count_dimensions(folder)
    modules = {name for name, count in dimensions.items() if count == MATRIX}
    return sorted(modules | {HEAD} if modules else modules)


def list_other_modules(folder: Path) -> list[str]:
    """Return the names of the modules that can't carry an adapter: norms, and those that hold other modules."""
    dimensions = _count_dimensions(folder)
    holders = {str(parent).replace("/", ".") for name in dimensions for parent in Path(name.replace(".", "/")).parents}
    return sorted(holders - {"."} - {*dimensions} | {name for name, count in dimensions.items() if count < MATRIX})


def _count_dimensions(folder: Path) -> dict[str, int]:
    """Return for each module with a weight how many dimensions its weight has."""
    return {
        name.removesuffix(".weight"): len(entry.get("shape", ()))
        for path in sorted(folder.glob("*.safetensors"))
        for name, entry in read_header(path).items()
        if name.endswith(".weight")
    }


def is_target(name: object, modules: Iterable[str]) -> bool:
    """Return whether a name in a list of targets is the end of a module's name, as PEFT looks for it."""
    return any(f".{module}".endswith(f".{name}") for module in modules)


def find_matches(pattern: str, modules: Sequence[str], key: str) -> list[str]:
    """Return the modules whose whole name a regular expression matches, with or without the prefix ``model.``.

    Args:
        key: the recipe's key that holds the pattern, for the error.

    Raises:
        BadRecipe: it is no pattern, or takes too long.
    """
    names = [(module, name) for module in modules for name in _spellings(module)]
    try:
        results = confined.ask("search", rf"\A(?:{pattern})\Z", jobs=[name for _, name in names])
    except (confined.LimitExceeded, confined.ConfinedError) as error:
        reason = f"{key}: the pattern {parsing.short_repr(pattern)} can't be used ({error})"
        raise BadRecipe([f"{reason}; list the names of the modules instead"]) from None
    return list(dict.fromkeys(module for (module, _), result in zip(names, results) if result))


def _spellings(module: str) -> tuple[str, str, str]:
    return module, f"model.{module}", module.removeprefix("model.")

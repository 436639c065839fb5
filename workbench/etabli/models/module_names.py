"""The names of a model's modules, read from the headers of its weight files: no library, no weights."""

from collections.abc import Iterable
from pathlib import Path

from etabli.core import confined, parsing
from etabli.core.errors import BadRecipe
from etabli.models.headers import read_header

ALL_LINEAR = "all-linear"
HEAD = "lm_head"


def list_modules(folder: Path) -> list[str]:
    """Return the names of the modules with a weight matrix, as ``model.layers.0.self_attn.q_proj``, sorted.

    They are the names in the safetensors files; a library may put another prefix before them. A head that shares the
    embeddings' matrix is in no file, and is added.

    Raises:
        Damaged: a file is cut off or forged.
    """
    shapes = {
        name: entry.get("shape", ())
        for path in sorted(folder.glob("*.safetensors"))
        for name, entry in read_header(path).items()
    }
    modules = {name.removesuffix(".weight") for name, shape in shapes.items() if len(shape) == 2}
    return sorted(modules | {HEAD} if modules else modules)


def require_targets(target_modules: str | tuple[str, ...], folder: Path, model: str) -> None:
    """Check that each target of LoRA names a module of the model.

    PEFT itself refuses a list only if no entry of it names a module: one misspelt entry would be left out silently.

    Args:
        target_modules: as in a recipe: names, or a regular expression for whole names, or ``all-linear``.

    Raises:
        BadRecipe: names each wrong target, and the modules that the model has.
    """
    if target_modules == ALL_LINEAR or not (modules := list_modules(folder)):
        return
    if isinstance(target_modules, str):
        wrong = [] if _matches_any(target_modules, modules) else [target_modules]
    else:
        wrong = [name for name in target_modules if not is_target(name, modules)]
    if wrong:
        last_parts = sorted({module.rpartition(".")[2] for module in modules})
        raise BadRecipe(
            [
                f"lora.target_modules: {model} has no module {parsing.short_repr(name)}; it has {', '.join(last_parts)}"
                for name in wrong
            ]
        )


def is_target(name: object, modules: Iterable[str]) -> bool:
    """Return whether a name in a list of targets is the end of a module's name, as PEFT looks for it."""
    return any(f".{module}".endswith(f".{name}") for module in modules)


def _matches_any(pattern: str, modules: list[str]) -> bool:
    """Return whether a regular expression matches a module's whole name, with or without the prefix ``model.``."""
    names = [*modules, *(f"model.{name}" for name in modules), *(name.removeprefix("model.") for name in modules)]
    try:
        found: list[object] = confined.ask("search", rf"\A(?:{pattern})\Z", jobs=names)
    except (confined.LimitExceeded, confined.ConfinedError) as error:
        reason = f"lora.target_modules: the pattern {parsing.short_repr(pattern)} can't be used ({error})"
        raise BadRecipe([f"{reason}; list the names of the modules instead"]) from None
    return any(found)

"""Whether the names in LoRA's settings are modules of the model, before anything of it is loaded.

PEFT refuses some of them only after the model is loaded, and leaves others out silently: one misspelt name of several,
a ``rank_pattern`` that fits nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from etabli.core import parsing
from etabli.core.errors import BadRecipe
from etabli.models.module_names import ALL_LINEAR, HEAD, find_matches, is_target, list_modules, list_other_modules

_KEY = "lora.target_modules"
_PATTERNS = ("rank_pattern", "alpha_pattern")


def require_names(lora: Mapping[str, object], folder: Path, model: str) -> None:
    """Check the names of modules in LoRA's settings.

    Args:
        lora: the arguments of PEFT's ``LoraConfig``; folder: of the model's weight files.

    Raises:
        BadRecipe: names each wrong name, and the modules that the model has.
    """
    modules = list_modules(folder)
    if not modules:
        return
    others = list_other_modules(folder)
    targets = lora.get("target_modules", ALL_LINEAR)
    problems = [] if targets == ALL_LINEAR else [*_check_targets(targets, modules, others, model)]
    if not problems:
        targeted = _find_targeted(targets, modules)
        problems = [*_check_patterns(lora, targeted), *_check_lists(lora, [*modules, *others], model)]
    if problems:
        raise BadRecipe(problems)


def _check_targets(targets: object, modules: list[str], others: list[str], model: str) -> Iterator[str]:
    is_pattern = isinstance(targets, str)
    for name in [str(targets)] if is_pattern else _as_list(targets):
        fits, misfits = [
            find_matches(name, group, _KEY) if is_pattern else _ends_in(name, group) for group in (modules, others)
        ]
        if misfits:
            yield (
                f"{_KEY}: {parsing.short_repr(name)} names {_last_parts(misfits)}, which can't carry an adapter: only "
                f"a layer with a weight matrix can; {model} has {_last_parts(modules)}"
            )
        elif not fits:
            yield f"{_KEY}: {model} has no module {parsing.short_repr(name)}; it has {_last_parts(modules)}"


def _find_targeted(targets: object, modules: list[str]) -> list[str]:
    if targets == ALL_LINEAR:
        return [module for module in modules if not is_target(HEAD, [module])]
    if isinstance(targets, str):
        return find_matches(targets, modules, _KEY)
    return [module for module in modules if any(is_target(name, [module]) for name in _as_list(targets))]


def _check_patterns(lora: Mapping[str, object], targeted: list[str]) -> Iterator[str]:
    for key in _PATTERNS:
        patterns = lora.get(key)
        for pattern in patterns if isinstance(patterns, dict) else ():
            if not find_matches(rf"(.*\.)?(?:{pattern})", targeted, f"lora.{key}"):
                yield (
                    f"lora.{key}: {parsing.short_repr(pattern)} names no module that is trained; these are "
                    f"{_last_parts(targeted)}"
                )


def _check_lists(lora: Mapping[str, object], modules: list[str], model: str) -> Iterator[str]:
    for key in ("modules_to_save", "exclude_modules"):
        for name in _as_list(lora.get(key)):
            if not is_target(name, modules):
                yield f"lora.{key}: {model} has no module {parsing.short_repr(name)}; it has {_last_parts(modules)}"


def _as_list(names: object) -> list[str]:
    return [str(name) for name in names] if isinstance(names, list | tuple | set) else []


def _ends_in(name: str, modules: Iterable[str]) -> list[str]:
    return [module for module in modules if is_target(name, [module])]


def _last_parts(modules: Iterable[str]) -> str:
    parts = {module.rpartition(".")[2] for module in modules}
    return ", ".join(sorted(part for part in parts if not part.isdigit()) or sorted(parts)[:5])

"""Whether the names in LoRA's settings are modules of the model, before anything of it is loaded.

PEFT refuses some of them only after the model is loaded, and leaves others out silently: one misspelt name of several,
a ``rank_pattern`` that fits nothing.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
    excluded = _find(lora.get("exclude_modules"), others, "lora.exclude_modules")
    targets = lora.get("target_modules", ALL_LINEAR)
    problems = [] if targets == ALL_LINEAR else [*_check_targets(targets, modules, {*others} - {*excluded}, model)]
    if not problems:
        targeted = _find_targeted(targets, modules)
        problems = [*_check_patterns(lora, targeted), *_check_lists(lora, [*modules, *others], model)]
    if problems:
        raise BadRecipe(problems)


def _check_targets(targets: object, modules: list[str], others: Collection[str], model: str) -> Iterator[str]:
    for name in [targets] if isinstance(targets, str) else [[name] for name in _as_list(targets)]:
        fits, misfits = (_find(name, group, _KEY) for group in (modules, sorted(others)))
        name = name if isinstance(name, str) else name[0]
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
    return _find(targets, modules, _KEY)


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


def _find(names: object, modules: Sequence[str], key: str) -> list[str]:
    """Return the modules that PEFT finds by a regular expression, or by a list of the ends of names."""
    if isinstance(names, str):
        return find_matches(names, modules, key)
    return [module for module in modules if any(is_target(name, [module]) for name in _as_list(names))]


def _last_parts(modules: Iterable[str]) -> str:
    parts = {module.rpartition(".")[2] for module in modules}
    return ", ".join(sorted(part for part in parts if not part.isdigit()) or sorted(parts)[:5])

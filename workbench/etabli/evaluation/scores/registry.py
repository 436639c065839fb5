"""From names and functions to scores."""

import copy
import inspect
import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from etabli.core import confined, parsing, storage, trust
from etabli.core.contracts import Row
from etabli.core.errors import BadInput
from etabli.evaluation.scores import answers, libraries, structured
from etabli.evaluation.scores.score import LOSS, MEAN, CUSTOM, SHARE, Score, digest, digest_own
from etabli.models import likelihood, prefix_cache
from etabli.rendering import render

LONGEST_PATTERN = 10_000  # characters
CHOICES = "choices"  # the column that holds what a multiple-choice row offers
INSTRUCTIONS = "instruction_id_list"
_OF_MODELS = [likelihood, prefix_cache, render]  # what a likelihood depends on
NAMES = (
    "exact", "normalised", "number", "regex:PATTERN", "valid_json", "json_schema:FILE", "choice", "choice_norm",
    "ifeval", "rouge_l", "chrf", "loss", "FILE.py", "FILE.py:FUNCTION",
)  # fmt: skip


def load_scores(names: str | Callable | Score | Iterable[str | Callable | Score]) -> list[Score]:
    """Scores from names (``NAMES``), files of functions, and functions of your own.

    Files are run: give this only what the person named, never what a file says; for that there is ``built_in``.

    A function of your own takes (answer, truth), or (answer, truth, row), and gives True or False, or a number. Set
    ``function.better = "lower"`` if less is better. The first score decides the verdict.

    Raises:
        BadInput: an unknown name, a pattern or schema that can't be read, two scores of one name; MissingExtra.
    """
    listed = [names] if isinstance(names, str | Score) or callable(names) else list(names)
    found = [score for name in listed for score in _scores(name)]
    said = [score.name for score in found]
    twice = next((name for name in said if said.count(name) > 1), None)
    if twice:
        raise BadInput(f"Two scores are called {twice}: their results could not be told apart.")
    return found


def builtin_score(spec: Any) -> Score | None:
    """The score that a recorded ``spec`` stands for, if it comes with this package and needs no file; else None.

    Raises:
        BadInput: a pattern that can't be read; MissingExtra: its library is not installed.
    """
    if not isinstance(spec, str):
        return None
    kind, _, option = spec.partition(":")
    if spec not in _PLAIN and not (kind == "regex" and option):
        return None
    return _scores(spec)[0]


def default_scores(rows: list[Row], truths: list[str]) -> list[Score]:
    """What suits the rows: choices, instructions, JSON or short answers; ROUGE-like scores are never assumed.

    Long free answers are compared by the likelihood of the truth: to be equal to it word for word is no measure.
    """
    columns = [row.get("columns") or {} for row in rows]
    if all(CHOICES in held for held in columns):
        return load_scores(["choice", "choice_norm", "exact", "loss"])
    if all(INSTRUCTIONS in held for held in columns):
        return load_scores(["ifeval"])
    if all(map(structured.valid_json, truths)):
        return load_scores(["exact", "valid_json", "loss"])
    short = sum(len(truth.split()) <= 12 for truth in truths) >= 0.9 * len(truths)
    return load_scores(["exact", "normalised", "loss"] if short else ["loss", "exact"])


def _scores(name: Any) -> list[Score]:
    if isinstance(name, Score):
        return [name]
    if callable(name):
        return [_own(name, digest_own(name))]
    kind, _, option = str(name).partition(":")
    if kind.endswith(".py"):
        return _from_file(Path(kind), option)
    if kind in _OPTIONS and option:
        return [_OPTIONS[kind](name, option)]
    if name in _PLAIN:
        return [_PLAIN[name]()]
    raise BadInput(f"Unknown score {name!r}; there are {', '.join(NAMES)}.")


def _own(function: Callable, code: str, spec: str = "") -> Score:
    name = getattr(function, "__name__", type(function).__name__)
    takes = _takes(function)
    if takes is None:
        raise BadInput(f"{name} can't be called as (answer, truth) or (answer, truth, row), which a score has to take.")
    better = getattr(function, "better", "higher")
    if better not in ("higher", "lower"):
        raise BadInput(f"{name}.better is {better!r}: say higher or lower.")
    return Score(name, _with_copy(function) if takes == 3 else _without_row(function), code, CUSTOM, better, spec=spec)


def _takes(function: Callable) -> int | None:
    """3 if a row is asked for, 2 if not; None if it is no score. What has a default is left alone, but for ``row``."""
    try:
        held = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 2
    plain = [one for one in held if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    needed = [one for one in held if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    if any(one.kind is one.KEYWORD_ONLY for one in needed) or not 2 <= max(len(needed), min(len(plain), 2)) <= 3:
        return None
    if len(plain) < 2:
        return None
    return 3 if len(needed) == 3 or (len(plain) > 2 and plain[2].name == "row") else 2


def _from_file(path: Path, only: str) -> list[Score]:
    code = trust.read_code(path, "scores")
    module = code.run()
    found = {name: item for name, item in vars(module).items() if trust.is_own_function(item, module, name)}
    if only:
        if only not in found:
            raise BadInput(f"{path} has no function {only}; it has {', '.join(found) or 'none'}.")
        found = {only: found[only]}
    else:
        found = {name: item for name, item in found.items() if _takes(item)}  # helpers stand beside scores
    if not found:
        raise BadInput(f"{path} has no function of (answer, truth) whose name does not begin with an underscore.")
    return [_own(item, code.sha256, f"{path}:{name}") for name, item in found.items()]


def _with_copy(function: Callable) -> Callable[[str, str, Row], Any]:
    """A function of one's own gets a row of its own: what it changes there is nobody else's."""
    return lambda answer, truth, row: function(answer, truth, copy.deepcopy(row))


def _without_row(function: Callable[[str, str], Any]) -> Callable[[str, str, Row], Any]:
    return lambda answer, truth, row: function(answer, truth)


def _text(function: Callable, *code: Any) -> Score:
    needs = function is not structured.valid_json
    return Score(function.__name__, _without_row(function), digest(code=[function, *code]), needs_truth=needs)


def _regex(name: str, pattern: str) -> Score:
    if len(pattern) > LONGEST_PATTERN:
        raise BadInput(f"A pattern of {len(pattern):,} characters is too long; {LONGEST_PATTERN:,} is the most.")
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise BadInput(f"{parsing.brief(pattern)} is no regular expression: {error}.") from None
    return Score(name, partial(_searched, pattern), digest(name), needs_truth=False)


def _searched(pattern: str, answer: str, truth: str, row: Row) -> bool:
    """Searched in the confined process: a pattern may take hours on a text that its author chose."""
    return confined.ask("search", pattern, jobs=[answer])[0]


def _schema(name: str, file: str) -> Score:
    import jsonschema

    try:
        schema = parsing.read_json(file, parsing.LARGEST_CONFIG)
        checker = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        checker.check_schema(schema)
    except OSError as error:
        raise BadInput(f"The schema {file} can't be read: {error}.") from None
    except (ValueError, TypeError, AttributeError, jsonschema.SchemaError) as error:
        raise BadInput(f"{file} is no JSON Schema: {getattr(error, 'message', None) or error}.") from None
    elsewhere = [ref for ref in structured.references(schema) if not ref.startswith("#")]
    if elsewhere:
        raise BadInput(f"{file} refers to {elsewhere[0]}, which is not followed: put all of it into one file.")
    written = json.dumps(schema)
    version = libraries.require("jsonschema", "")
    code = digest(storage.sha256(file), version, code=[structured])
    return Score(name, lambda answer, truth, row: _follows(written, answer), code, needs_truth=False)


def _follows(schema: str, answer: str) -> bool:
    """Asked of the confined process: a schema may hold patterns, and references that double each other."""
    value = structured.read(answer)
    return value is not structured.UNREADABLE and confined.ask("follow", schema, jobs=[value])[0]


def _library(function: Callable, package: str, extra: str, unit: str = MEAN, row: bool = False) -> Score:
    version = libraries.require(package, extra)
    code = digest(package, version, code=[libraries])
    of = function if row else _without_row(function)
    return Score(function.__name__, of, code, unit, needs_truth=not row)


def _choice(name: str) -> Score:
    """For an arm that only has an answer's text, that text has to be the right choice."""
    code = digest(name, code=[*_OF_MODELS, answers])
    return Score(name, _without_row(answers.normalised), code, from_model=True)


def _loss() -> Score:
    return Score("loss", _no_text, digest("loss", code=_OF_MODELS), LOSS, "lower", from_model=True)


def _no_text(answer: str, truth: str, row: Row) -> None:
    """The loss of an answer that no model gave is not defined."""


_PLAIN: dict[str, Callable[[], Score]] = {
    "exact": lambda: _text(answers.exact, structured),
    "normalised": lambda: _text(answers.normalised, answers),
    "number": lambda: _text(answers.number, answers),
    "valid_json": lambda: _text(structured.valid_json, structured),
    "choice": lambda: _choice("choice"),
    "choice_norm": lambda: _choice("choice_norm"),
    "loss": _loss,
    "rouge_l": lambda: _library(libraries.rouge_l, "rouge-score", "scores"),
    "chrf": lambda: _library(libraries.chrf, "sacrebleu", "scores"),
    "ifeval": lambda: _library(libraries.ifeval, "lm-eval", "harness", SHARE, row=True),
}
_OPTIONS: dict[str, Callable[[str, str], Score]] = {"regex": _regex, "json_schema": _schema}

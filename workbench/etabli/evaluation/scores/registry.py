"""Scores from names, from files of functions, and from functions."""

import copy
import inspect
import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import ModuleType

from etabli.core import confined, parsing, storage, trust
from etabli.core.contracts import Row
from etabli.core.errors import BadInput
from etabli.evaluation import call_format
from etabli.evaluation.scores import answers, calls, libraries, structured
from etabli.evaluation.scores.score import CUSTOM, LOSS, MEAN, SHARE, Score, ScoreFunction, digest, digest_custom
from etabli.models import likelihood, prefix_cache
from etabli.rendering import render

LONGEST_PATTERN = 10_000  # characters
CHOICES = "choices"  # the column with the choices of a multiple-choice row
INSTRUCTIONS = "instruction_id_list"
SHORT_ANSWER = 12  # words, up to which an answer is compared word for word by default
_LIKELIHOOD_MODULES = [likelihood, prefix_cache, render]  # a likelihood depends on their code
NAMES = (
    "exact",
    "normalised",
    "number",
    "regex:PATTERN",
    "valid_json",
    "json_schema:FILE",
    "choice",
    "choice_norm",
    "ifeval",
    "rouge_l",
    "chrf",
    "loss",
    "tool_call",
    "call_name",
    "call_arguments",
    "over_calling",
    "under_calling",
    "FILE.py",
    "FILE.py:FUNCTION",
)


def load_scores(names: str | ScoreFunction | Score | Iterable[str | ScoreFunction | Score]) -> list[Score]:
    """Scores from names (``NAMES``), files of functions, and functions of your own.

    Files are run: pass only names that the person typed, never names from a file; ``builtin_score`` is for those.

    A function of your own takes (answer, truth), or (answer, truth, row), and returns True or False, or a number. Set
    ``function.better = "lower"`` if less is better. The first score decides the verdict.

    Raises:
        BadInput: an unknown name, a pattern or schema that can't be read, two scores of one name; MissingExtra.
    """
    items = [names] if isinstance(names, str | Score) or callable(names) else list(names)
    scores = [score for item in items for score in _load(item)]
    score_names = [score.name for score in scores]
    twice = next((name for name in score_names if score_names.count(name) > 1), None)
    if twice:
        raise BadInput(f"Two scores are called {twice}: their results could not be told apart. Rename one of them.")
    return scores


def builtin_score(spec: object) -> Score | None:
    """The score of a recorded ``spec`` if it comes with this package and needs no file, else None.

    Raises:
        BadInput: a pattern that can't be read; MissingExtra: its library is not installed.
    """
    if not isinstance(spec, str):
        return None
    kind, _, option = spec.partition(":")
    if spec not in _PLAIN and not (kind == "regex" and option):
        return None
    return _load(spec)[0]


def default_scores(rows: list[Row], truths: list[str]) -> list[Score]:
    """The scores that suit the rows: for tool calls, choices, instructions, JSON or short answers.

    ROUGE and chrF are never chosen.

    Long free answers are compared by the likelihood of the truth, since few are equal to it word for word.
    """
    columns = [row.get("columns") or {} for row in rows]
    if any(map(calls.calls_due, rows)):
        return load_scores([*_CALL_FUNCTIONS, "exact"])
    if all(CHOICES in row_columns for row_columns in columns):
        return load_scores(["choice", "choice_norm", "exact", "loss"])
    if all(INSTRUCTIONS in row_columns for row_columns in columns):
        return load_scores(["ifeval"])
    if all(map(structured.valid_json, truths)):
        return load_scores(["exact", "valid_json", "loss"])
    short_count = sum(len(truth.split()) <= SHORT_ANSWER for truth in truths)
    return load_scores(["exact", "normalised", "loss"] if short_count >= 0.9 * len(truths) else ["loss", "exact"])


def _load(name: str | ScoreFunction | Score) -> list[Score]:
    if isinstance(name, Score):
        return [name]
    if callable(name):
        return [_custom_score(name, digest_custom(name))]
    kind, _, option = str(name).partition(":")
    if kind.endswith(".py"):
        return _load_file(Path(kind), option)
    if kind in _OPTIONS and option:
        return [_OPTIONS[kind](name, option)]
    if name in _PLAIN:
        return [_PLAIN[name]()]
    raise BadInput(f"Unknown score {name!r}; there are {', '.join(NAMES)}.")


def _custom_score(function: ScoreFunction, code: str, spec: str = "") -> Score:
    name = getattr(function, "__name__", type(function).__name__)
    count = _count_arguments(function)
    if count is None:
        raise BadInput(f"{name} can't be called as (answer, truth) or (answer, truth, row): a score takes these.")
    better = getattr(function, "better", "higher")
    if better not in ("higher", "lower"):
        raise BadInput(f"{name}.better is {better!r}: set it to 'higher' or 'lower'.")
    return Score(name, _copy_row(function) if count == 3 else _drop_row(function), code, CUSTOM, better, spec=spec)


def _count_arguments(function: ScoreFunction) -> int | None:
    """3 if the function takes a row, 2 if not, None if it is no score. Defaults are kept, except that of ``row``."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 2
    plain = [item for item in parameters if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)]
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required_items = [item for item in parameters if item.default is item.empty and item.kind not in variadic]
    if any(item.kind is item.KEYWORD_ONLY for item in required_items) or len(plain) < 2 or len(required_items) > 3:
        return None
    return 3 if len(required_items) == 3 or (len(plain) > 2 and plain[2].name == "row") else 2


def _load_file(path: Path, only: str) -> list[Score]:
    """The scores of a file: the function ``only``, or every public function that can be a score."""
    code = trust.read_code(path, "scores")
    module = code.run()
    functions = {name: item for name, item in vars(module).items() if trust.is_own_function(item, module, name)}
    if only and only not in functions:
        raise BadInput(f"{path} has no function {only}; it has {', '.join(functions) or 'none'}.")
    # Without a name, helper functions may stand beside the scores.
    score_names = [only] if only else [name for name, item in functions.items() if _count_arguments(item)]
    if not score_names:
        raise BadInput(f"{path} has no function of (answer, truth) whose name does not begin with an underscore.")
    return [_custom_score(functions[name], code.sha256, f"{path}:{name}") for name in score_names]


def _copy_row(function: ScoreFunction) -> Callable[[str, str, Row], object]:
    """The function with a copy of the row, so that its changes do not reach other scores."""
    return lambda answer, truth, row: function(answer, truth, copy.deepcopy(row))


def _drop_row(function: ScoreFunction) -> Callable[[str, str, Row], object]:
    """The function without the argument ``row``."""
    return lambda answer, truth, row: function(answer, truth)


def _text_score(name: str, function: Callable[[str, str], bool], *code: ModuleType) -> Score:
    needs_truth = function is not structured.valid_json
    return Score(name, _drop_row(function), digest(code=[function, *code]), needs_truth=needs_truth)


def _regex_score(name: str, pattern: str) -> Score:
    if len(pattern) > LONGEST_PATTERN:
        raise BadInput(f"A pattern of {len(pattern):,} characters is too long; {LONGEST_PATTERN:,} is the most.")
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise BadInput(f"{parsing.short_repr(pattern)} is no regular expression: {error}.") from None

    def search(answer: str, truth: str, row: Row) -> object:
        # In the confined process, since a pattern may take hours on a text that its author chose.
        return confined.ask("search", pattern, jobs=[answer])[0]

    return Score(name, search, digest(name), needs_truth=False)


def _schema_score(name: str, file: str) -> Score:
    import jsonschema

    try:
        schema = parsing.read_json(file, parsing.LARGEST_CONFIG)
        checker = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        checker.check_schema(schema)
    except OSError as error:
        raise BadInput(f"The schema {file} can't be read: {error}.") from None
    except (ValueError, TypeError, AttributeError, jsonschema.SchemaError) as error:
        raise BadInput(f"{file} is no JSON Schema: {getattr(error, 'message', None) or error}.") from None
    remote = [reference for reference in structured.references(schema) if not reference.startswith("#")]
    if remote:
        raise BadInput(f"{file} refers to {remote[0]}, which is not followed: put all of it into one file.")
    schema_text = json.dumps(schema)
    code = digest(storage.sha256(file), libraries.require("jsonschema", ""), code=[structured])

    def follows(answer: str, truth: str, row: Row) -> object:
        # In the confined process, since a schema may hold patterns, and references that double each other.
        value = structured.read_json(answer)
        return value is not structured.UNREADABLE and confined.ask("follow", schema_text, jobs=[value])[0]

    return Score(name, follows, code, needs_truth=False)


def _library_score(
    name: str, function: ScoreFunction, package: str, extra: str, unit: str = MEAN, takes_row: bool = False
) -> Score:
    code = digest(package, libraries.require(package, extra), code=[libraries])
    compute = function if takes_row else _drop_row(function)
    return Score(name, compute, code, unit, needs_truth=not takes_row)


def _choice_score(name: str) -> Score:
    """Multiple choice by likelihood. The text of a system without a model has to equal the right choice."""
    code = digest(name, code=[*_LIKELIHOOD_MODULES, answers])
    return Score(name, _drop_row(answers.normalised), code, from_model=True)


def _loss_score() -> Score:
    def compute(answer: str, truth: str, row: Row) -> None:
        """The loss of an answer that no model gave is not defined."""

    return Score("loss", compute, digest("loss", code=_LIKELIHOOD_MODULES), LOSS, "lower", from_model=True)


def _call_score(name: str, better: str = "higher") -> Score:
    """A score of an answer's tool calls against those of the row."""
    function = _CALL_FUNCTIONS[name]
    code = digest(name, code=[calls, call_format])
    return Score(
        name, lambda answer_calls, truth, row: function(answer_calls, row), code, better=better, from_calls=True
    )


_CALL_FUNCTIONS: dict[str, Callable[[calls.AnswerCalls, Row], bool | None]] = {
    "tool_call": calls.is_right_call,
    "call_name": calls.has_right_name,
    "call_arguments": calls.has_right_arguments,
    "over_calling": calls.is_over_calling,
    "under_calling": calls.is_under_calling,
}
_PLAIN: dict[str, Callable[[], Score]] = {
    "exact": partial(_text_score, "exact", answers.exact, structured),
    "normalised": partial(_text_score, "normalised", answers.normalised, answers),
    "number": partial(_text_score, "number", answers.number, answers),
    "valid_json": partial(_text_score, "valid_json", structured.valid_json, structured),
    "choice": partial(_choice_score, "choice"),
    "choice_norm": partial(_choice_score, "choice_norm"),
    "loss": _loss_score,
    "rouge_l": partial(_library_score, "rouge_l", libraries.rouge_l, "rouge-score", "scores"),
    "chrf": partial(_library_score, "chrf", libraries.chrf, "sacrebleu", "scores"),
    **{name: partial(_call_score, name) for name in ("tool_call", "call_name", "call_arguments")},
    **{name: partial(_call_score, name, "lower") for name in ("over_calling", "under_calling")},
    "ifeval": partial(_library_score, "ifeval", libraries.ifeval, "lm-eval", "harness", SHARE, takes_row=True),
}
_OPTIONS: dict[str, Callable[[str, str], Score]] = {"regex": _regex_score, "json_schema": _schema_score}

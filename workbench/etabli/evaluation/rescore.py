"""The saved log of an evaluation: read it, score it again, see that the same comes out."""

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from etabli.core import folders, parsing, storage
from etabli.core.contracts import RESULTS, VERSION, Answered, Metric, Results
from etabli.core.errors import BadInput, Damaged, EtabliError
from etabli.evaluation import scoring
from etabli.evaluation.aggregate import summarise
from etabli.evaluation.caveats import score_error_caveats
from etabli.evaluation.scores import Score, builtin_score, load_scores
from etabli.runs.run import Run


def read_results(place: Run | str | Path) -> Results:
    """The results of a run, of its folder, or of a ``results.json``.

    Raises:
        BadInput: nothing was evaluated there; Damaged: not the results of an evaluation, or of another version.
    """
    path = place.folder if isinstance(place, Run) else Path(place)
    path = folders.inside(path, RESULTS) if path.is_dir() else path
    try:
        held = parsing.read_json(path)
    except OSError:
        raise BadInput(f"There are no results in {path}: run etabli.evaluate, or etabli evaluate, first.") from None
    missing = sorted(set(Results.__annotations__) - set(held)) if isinstance(held, dict) else ["everything"]
    if missing or held["version"] != VERSION:
        why = f"lacks {', '.join(missing)}" if missing else f"is of version {held['version']}, not {VERSION}"
        raise Damaged(f"{path} {why}: evaluate again.")
    try:
        summarise(held)
        for score in held["scores"]:
            for one in [*score["arms"].values(), *score["differences"]]:
                _unbounded(one)
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise Damaged(f"{path} is not as it was written ({type(error).__name__}: {error}): evaluate again.") from error
    return held


def _unbounded(one: dict[str, Any]) -> None:
    """A bound that is not known is null in JSON."""
    for key, bound in (("low", -math.inf), ("high", math.inf)):
        one[key] = bound if one[key] is None else one[key]


def rescore_results(results: Results, named: Sequence[str | Callable | Score] = ()) -> tuple[Results, dict[str, Any]]:
    """Score the saved answers again, and make scores and verdict anew.

    The results may be a stranger's: no file that they name is opened or run, whatever hash stands beside it.

    Args:
        named: files and functions of scores that the person names now: a score of the results that has the name of one
            of them is made by it.

    Returns:
        The results made anew, and ``{same: bool, rescored: [...], kept: {score: why it could not be made again}}``.
        What is read from a model's probabilities, scores whose code or library has changed, and scores of a file that
        is not among ``named`` keep their values.
    """
    rows, kept = copy.deepcopy(results["rows"]), {}
    given = {score.name: score for score in load_scores(named)}
    for metric in results["metrics"]:
        score, why = _again(metric, given.get(metric["name"]))
        if score is None:
            kept[metric["name"]] = why
            continue
        for row in rows:
            _mark(row, score)
    made = summarise({**results, "rows": rows})
    rescored = [metric["name"] for metric in results["metrics"] if metric["name"] not in kept]
    return made, {"same": storage.to_json(made) == storage.to_json(results), "rescored": rescored, "kept": kept}


def add_scores(results: Results, names: str | Callable | Sequence[str | Callable]) -> Results:
    """The same answers with more scores, made from their texts: no model, no new answers.

    Args:
        results: as ``read`` gives them; names: as for ``bench.evaluate``, without what is read from a model.

    Raises:
        BadInput: a score that needs the model, or one that the results have already.
    """
    rows = copy.deepcopy(results["rows"])
    scores = load_scores(names)
    known = {metric["name"] for metric in results["metrics"]}
    for score in scores:
        if score.from_model or score.name in known:
            why = "is read from a model: evaluate again" if score.from_model else "is there already"
            raise BadInput(f"{score.name} {why}.")
        for row in rows:
            _mark(row, score)
    new = scoring.describe_metrics(scores, rows)
    warnings = [*results["warnings"], *score_error_caveats(rows, new)]
    return summarise({**results, "rows": rows, "metrics": [*results["metrics"], *new], "warnings": warnings})


NOT_NAMED = "not scored again: its file was not named now (read it, then name it: --score FILE)"


def _again(metric: Metric, named: Score | None) -> tuple[Score | None, str]:
    """A score as it was, or why it can't be had: one that the person named, or one that needs no file."""
    try:
        score = named or builtin_score(metric["spec"])
    except EtabliError:
        return None, "it can't be had from here"
    if score is None or score.name != metric["name"]:
        return None, NOT_NAMED if names_file(metric["spec"]) else "it can't be had from here"
    if score.from_model:
        return None, "it is read from the model's probabilities"
    changed = score.hash != metric["hash"]
    return (None, "its code, its options or its library have changed since") if changed else (score, "")


def names_file(spec: Any) -> bool:
    """Does a recorded score name a file of functions, or a schema?"""
    kind = str(spec).partition(":")[0]
    return kind.endswith(".py") or kind == "json_schema"


def _mark(row: Answered, score: Score) -> None:
    row["errors"].pop(score.name, None)
    scoring.add_score(row, score, {arm: scoring.of_text(score, arm, row["row"], row) for arm in row["answers"]})

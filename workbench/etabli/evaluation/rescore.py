"""Read the saved results of an evaluation, and score the saved answers again."""

import copy
import math
from collections.abc import Sequence
from pathlib import Path

from etabli.core import contract_check, folders, parsing, storage
from etabli.core.contracts import RESULTS, VERSION, Difference, Estimate, Metric, Rescoring, Results
from etabli.core.errors import BadInput, Damaged, EtabliError
from etabli.evaluation.aggregate import summarise
from etabli.evaluation.caveats import score_error_caveats
from etabli.evaluation.results_check import find_contradiction
from etabli.evaluation.scores import Score, builtin_score, load_scores
from etabli.evaluation.scores.score import ScoreFunction
from etabli.evaluation.scoring import describe_metrics, score_texts
from etabli.runs.run import Run

NEXT_STEP = "To mend it, evaluate again: etabli evaluate DIR."
NOT_NAMED = "not scored again: its file was not named now (read it, then name it: --score FILE)"


def read_results(place: Run | str | Path) -> Results:
    """The results of a run, of its folder, or of a ``results.json``.

    Raises:
        BadInput: nothing was evaluated there; Damaged: not the results of an evaluation, or of another version.
    """
    path = place.folder if isinstance(place, Run) else Path(place)
    path = folders.resolve_inside(path, RESULTS) if path.is_dir() else path
    try:
        value = parsing.read_json(path)
    except OSError:
        raise BadInput(f"There are no results in {path}: run etabli.evaluate, or etabli evaluate, first.") from None
    results = contract_check.require(value, Results, str(path), NEXT_STEP)
    if results["version"] != VERSION:
        raise Damaged(f"{path} is of version {results['version']}, not {VERSION}. {NEXT_STEP}")
    if problem := find_contradiction(results):
        raise Damaged(f"{path}: {problem}. {NEXT_STEP}")
    for score in results["scores"]:
        for interval in [*score["arms"].values(), *score["differences"]]:
            _restore_bounds(interval)
    return results


def _restore_bounds(interval: Estimate | Difference) -> None:
    """Replace null, which stands for an unknown bound in JSON, by an infinity."""
    interval["low"] = -math.inf if interval["low"] is None else interval["low"]
    interval["high"] = math.inf if interval["high"] is None else interval["high"]


def rescore_results(results: Results, named: Sequence[str | ScoreFunction | Score] = ()) -> tuple[Results, Rescoring]:
    """Score the saved answers again, and compute scores and verdict from the new values.

    The results may come from a stranger: no file that they name is opened or run, whatever hash stands beside it.

    Args:
        named: files and functions of scores that the person names now; each replaces the score of the same name.

    Returns:
        The new results, and which scores were computed again. Scores that are read from a model's probabilities,
        scores whose code or library has changed, and scores of a file that is not among ``named`` keep their values.
    """
    rows, reasons_kept = copy.deepcopy(results["rows"]), {}
    named_scores = {score.name: score for score in load_scores(named)}
    for metric in results["metrics"]:
        score, why = _find_score(metric, named_scores.get(metric["name"]))
        if score is None:
            reasons_kept[metric["name"]] = why
            continue
        for row in rows:
            score_texts(row, score)
    new_results = summarise({**results, "rows": rows})
    rescored_names = [metric["name"] for metric in results["metrics"] if metric["name"] not in reasons_kept]
    is_same = storage.to_json(new_results) == storage.to_json(results)
    return new_results, {"same": is_same, "rescored": rescored_names, "kept": reasons_kept}


def add_scores(results: Results, names: str | ScoreFunction | Sequence[str | ScoreFunction]) -> Results:
    """The same answers with more scores, computed from their texts: no model, no new answers.

    Args:
        results: as ``read_results`` returns them; names: as for ``evaluate``, but no score that needs the model.

    Raises:
        BadInput: a score that needs the model, or one that the results have already.
    """
    rows, scores = copy.deepcopy(results["rows"]), load_scores(names)
    existing_names = {metric["name"] for metric in results["metrics"]}
    for score in scores:
        if score.from_model or score.name in existing_names:
            why = "is read from a model: evaluate again" if score.from_model else "is there already"
            raise BadInput(f"{score.name} {why}.")
        for row in rows:
            score_texts(row, score)
    new_metrics = describe_metrics(scores, rows)
    warnings = [*results["warnings"], *score_error_caveats(rows, new_metrics)]
    return summarise({**results, "rows": rows, "metrics": [*results["metrics"], *new_metrics], "warnings": warnings})


def _find_score(metric: Metric, named_score: Score | None) -> tuple[Score | None, str]:
    """The score that a metric was made with: the one that the person named, or one without a file; else why not."""
    try:
        score = named_score or builtin_score(metric["spec"])
    except EtabliError:
        return None, "it can't be had from here"
    if score is None or score.name != metric["name"]:
        return None, NOT_NAMED if names_file(metric["spec"]) else "it can't be had from here"
    if score.from_model:
        return None, "it is read from the model's probabilities"
    if score.hash != metric["hash"]:
        return None, "its code, its options or its library have changed since"
    return score, ""


def names_file(spec: object) -> bool:
    """Does the recorded name of a score contain a file of functions, or a schema?"""
    kind = str(spec).partition(":")[0]
    return kind.endswith(".py") or kind == "json_schema"

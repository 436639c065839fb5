"""The saved log of an evaluation: read it, score it again, see that the same comes out."""

import copy
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from etabli import storage
from etabli.contracts import RESULTS, Answered, Results, Row
from etabli.errors import BadInput, Damaged, EtabliError
from etabli.evaluation import marking
from etabli.evaluation.notices import failed
from etabli.evaluation.scores import wanted
from etabli.evaluation.summary import summarise
from etabli.training.run import Run


def read(place: Run | str | Path) -> Results:
    """The results of a run, of its folder, or of a ``results.json``.

    Raises:
        BadInput: nothing was evaluated there; Damaged: not the results of an evaluation.
    """
    path = place.folder if isinstance(place, Run) else Path(place)
    path = path / RESULTS if path.is_dir() else path
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise BadInput(f"There are no results in {path}: run etabli.evaluate, or etabli evaluate, first.") from None
    except ValueError:
        raise Damaged(f"{path} is no JSON: evaluate again.") from None
    missing = sorted(set(Results.__annotations__) - set(held)) if isinstance(held, dict) else ["everything"]
    if missing:
        raise Damaged(f"{path} lacks {', '.join(missing)}: it was written by an older version. Evaluate again.")
    for score in held["scores"]:
        for one in [*score["arms"].values(), *score["differences"]]:
            _unbounded(one)
    return held


def _unbounded(one: dict[str, Any]) -> None:
    """A bound that is not known is null in JSON."""
    for key, bound in (("low", -math.inf), ("high", math.inf)):
        one[key] = bound if one[key] is None else one[key]


def again(results: Results) -> tuple[Results, dict[str, Any]]:
    """Score the saved answers again, and make scores and verdict anew.

    Returns:
        The results made anew, and ``{same: bool, rescored: [...], kept: {score: why it could not be made again}}``.
        What is read from a model's probabilities, and scores whose code or library has changed, keep their values.
    """
    rescored, kept = [], {}
    rows = copy.deepcopy(results["rows"])
    for metric in results["metrics"]:
        why = _rescore(metric, rows)
        if why:
            kept[metric["name"]] = why
        else:
            rescored.append(metric["name"])
    made = summarise({**results, "rows": rows})
    same = storage.to_json(made) == storage.to_json(results)
    return made, {"same": same, "rescored": rescored, "kept": kept}


def with_scores(results: Results, names: Sequence[str | Callable]) -> Results:
    """The same answers with more scores, made from their texts: no model, no new answers.

    Args:
        results: as ``read`` gives them; names: as for ``bench.evaluate``, without what is read from a model.

    Raises:
        BadInput: a score that needs the model, or one that the results have already.
    """
    rows = copy.deepcopy(results["rows"])
    scores = wanted(names)
    known = {metric["name"] for metric in results["metrics"]}
    for score in scores:
        if score.from_model or score.name in known:
            why = "is read from a model: evaluate again" if score.from_model else "is there already"
            raise BadInput(f"{score.name} {why}.")
        for row in rows:
            held = _row(row)
            marking.mark(row, score, {arm: marking.of_text(score, arm, held, row) for arm in row["answers"]})
    new = marking.metrics(scores, rows)
    warnings = [*results["warnings"], *failed(rows, new)]
    return summarise({**results, "rows": rows, "metrics": [*results["metrics"], *new], "warnings": warnings})


def _rescore(metric: dict[str, Any], rows: list[dict[str, Any]]) -> str | None:
    name = metric["name"]
    try:
        [score] = [score for score in wanted([name]) if score.name == name]
    except (EtabliError, ValueError) as error:
        return f"it can't be had here: {error}"
    if score.from_model:
        return "it is read from the model's probabilities"
    if score.hash != metric["hash"]:
        return "its code, its options or its library have changed since"
    for row in rows:
        _rescore_row(score, row)
    return None


def _rescore_row(score: Any, row: dict[str, Any]) -> None:
    held = _row(row)
    for arm, before in row["values"][score.name].items():
        if before is not None:
            said = score.of(row["answers"][arm], row["truth"], held)
            row["values"][score.name][arm] = said if isinstance(said, bool) else float(said)


def _row(row: Answered) -> Row:
    """What the log keeps of a test row."""
    return {"id": row["id"], "messages": [{"role": "user", "content": row["prompt"]}], "columns": row["columns"]}

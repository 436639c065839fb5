"""Two runs on the same rows: what differs in their recipes, and which is better."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from etabli.core import folders
from etabli.core.contracts import ARMS, Answered, Comparison, Metric, Results
from etabli.core.errors import BadData, BadInput
from etabli.data.dataset import located
from etabli.evaluation import evaluate
from etabli.evaluation.aggregate import summarise
from etabli.evaluation.caveats import overlap_caveats
from etabli.evaluation.scores.score import LOSS, MEAN, NUMBER, SHARE
from etabli.evaluation.systems import TUNED, ReportProgress
from etabli.models.loading import load
from etabli.models.sources import resolve
from etabli.runs.recipe_code import agree_to_read
from etabli.runs.run import Run

# What a row holds by arm, and is put side by side.
_BY_ARM = ("rendered", "answers", "raw", "correct")


@folders.takes_allow_outside
def compare(
    a: Run | str | Path,
    b: Run | str | Path,
    data: str | Path | None = None,
    limit: int | None = None,
    max_new_tokens: int | None = None,
    progress: ReportProgress | None = None,
    *,
    scores: Sequence[str | Callable] | None = None,
    by: Sequence[str] = ("lang",),
    only: str | None = None,
    cluster: str | None = None,
    trust_code: bool = False,
) -> Comparison:
    """Run ``b`` against run ``a``, row by row; on one copy of the weights where they have the same base.

    Args:
        a, b: runs or their folders.
        data: an evaluation set; by default the test rows of ``a``'s data.
        limit, max_new_tokens, progress, scores, by, only, cluster, trust_code: as for ``bench.evaluate``.

    Returns:
        ``results.json``'s fields with the runs' names as arms and ``b`` as subject, and ``recipes``: {key: [a's, b's]}.
        Nothing is written into either run.

    Raises:
        BadInput: a run against itself; as ``bench.evaluate``.
    """
    a, b = Run.attach(a), Run.attach(b)
    if a.folder.resolve() == b.folder.resolve():
        raise BadInput(f"{a.name} is compared with itself: name two runs.")
    for run in (a, b):  # both, before a model is loaded
        agree_to_read(run.recipe, run.folder, trust_code, "etabli.compare(..., trust_code=True)")
    given: dict[str, Any] = {"data": data or _own_data(a), "limit": limit, "progress": progress, "scores": scores,
                             "by": by, "only": only, "cluster": cluster, "arms": [TUNED], "save": False}  # fmt: skip
    loaded = load(a.recipe.model, adapter=a.adapter, dtype=a.dtype)
    one = evaluate.evaluate(a, max_new_tokens=max_new_tokens, loaded=loaded, **given)
    same_base = resolve(b.recipe.model).hash == loaded.source.hash
    longest = one["made_with"]["max_new_tokens"]
    other = evaluate.evaluate(b, max_new_tokens=longest, loaded=loaded if same_base else None, **given)
    return {**merge_results([one, other], _names(a, b)), "recipes": recipe_differences(a, b)}


def _own_data(run: Run) -> str:
    """The run's own data, named so that they are found from wherever the other run is looked at."""
    file, mark, entry = run.recipe.data.partition("#")
    place = located(file, run.folder)
    return f"{place.absolute()}{mark}{entry}" if place.exists() else run.recipe.data


def _names(a: Run, b: Run) -> tuple[str, str]:
    plain = a.name != b.name and not {a.name, b.name} & set(ARMS)
    return (a.name, b.name) if plain else (str(a.folder), str(b.folder))


def recipe_differences(a: Run, b: Run) -> dict[str, list[Any]]:
    """The keys in which two recipes differ, with both values; and what their folders froze, where that differs."""
    one, other = (run.recipe.keys() | {"frozen": {**run.frozen, "recipe": None}} for run in (a, b))
    found: dict[str, list[Any]] = {}
    for key, left, right in _pairs(one, other):
        if left != right:
            found[key] = [left, right]
    return found


def _pairs(one: dict, other: dict, path: str = ""):
    for key in sorted({*one, *other}):
        left, right = one.get(key), other.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            yield from _pairs(left, right, f"{path}{key}.")
        else:
            yield f"{path}{key}", left, right


def merge_results(held: Sequence[Results], names: Sequence[str]) -> Results:
    """Evaluations of the same rows as one, their subjects side by side under these names; the last is judged.

    Raises:
        BadData: they are not of the same rows.
    """
    first = held[0]
    for name, other in zip(names, held):
        if [row["id"] for row in other["rows"]] != [row["id"] for row in first["rows"]]:
            raise BadData(f"{names[0]} and {name} were not asked the same rows: name a data set with --data.")
    metrics, dropped = _comparable(held)
    kept = [metric["name"] for metric in metrics]
    rows = [_side_by_side(dict(zip(names, each)), held, kept) for each in zip(*(one["rows"] for one in held))]
    each = [(name, text) for name, one in zip(names, held) for text in one["warnings"]]
    said = [f"{name}: {text}" for name, text in each if not text.startswith("OVERLAP")]
    return summarise(
        {
            **first,
            "model": ", ".join(dict.fromkeys(one["model"] for one in held)),
            "made_with": {name: one["made_with"] for name, one in zip(names, held)},
            "arms": list(names),
            "subject": names[-1],
            "rivals": list(names[:-1]),
            "metrics": metrics,
            "rows": rows,
            "warnings": [*overlap_caveats(rows), *dropped, *said],
        }
    )


def _comparable(held: Sequence[Results]) -> tuple[list[Metric], list[str]]:
    """Scores that all have and that mean the same; a loss a token does only where the tokens do."""
    same_base = len({(one["made_with"]["template_hash"], one["made_with"]["model_hash"]) for one in held}) == 1
    kept: list[Metric] = []
    said = []
    for metric in held[0]["metrics"]:
        twins = [twin for one in held for twin in one["metrics"] if twin["name"] == metric["name"]]
        if len(twins) < len(held) or len({twin["hash"] for twin in twins}) > 1:
            said.append(f"{metric['name']} is left out: it was not made in the same way for all.")
        elif metric["unit"] == LOSS and not same_base:
            said.append(f"{metric['name']} is left out: the bases differ, and their tokens can't be compared.")
        else:
            kept.append({**metric, "unit": functools.reduce(_wider, (twin["unit"] for twin in twins))})
    return kept, said


def _wider(one: str, other: str) -> str:
    """Units told by values may differ between runs: what holds for both is the wider."""
    order = (SHARE, MEAN, NUMBER)
    return max(one, other, key=order.index) if {one, other} <= set(order) else one


def _side_by_side(rows: dict[str, Answered], held: Sequence[Results], metrics: list[str]) -> Answered:
    """One test row with what each evaluation's subject made of it."""
    each = [(name, row, one["subject"]) for (name, row), one in zip(rows.items(), held)]
    made: dict[str, Any] = {key: {name: row[key][arm] for name, row, arm in each if arm in row[key]} for key in _BY_ARM}
    made["values"] = {metric: {name: row["values"][metric][arm] for name, row, arm in each} for metric in metrics}
    made["errors"] = {
        metric: failed
        for metric in metrics
        if (failed := {name: why for name, row, arm in each if (why := row["errors"].get(metric, {}).get(arm))})
    }
    made["overlap"] = next((row["overlap"] for _, row, _ in each if row["overlap"]), None)
    return {**each[0][1], **made}

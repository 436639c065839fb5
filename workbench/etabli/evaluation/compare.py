"""Compare two runs on the same rows: how their recipes differ, and which run is better."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from etabli.core import folders
from etabli.core.contracts import ARMS, AnsweredRow, Comparison, Metric, Results
from etabli.core.errors import BadData, BadInput
from etabli.core.progress import show_progress
from etabli.data.dataset import find_path
from etabli.data.names import split_entry
from etabli.evaluation.aggregate import summarise
from etabli.evaluation.caveats import overlap_caveats
from etabli.evaluation.evaluate import evaluate
from etabli.evaluation.scores.score import LOSS, MEAN, NUMBER, SHARE, ScoreFunction
from etabli.evaluation.systems import TUNED, ReportProgress
from etabli.models.chat_templates import read_stored_template
from etabli.models.loading import LoadedModel
from etabli.models.sources import resolve
from etabli.runs.adapter_run import open_adapter
from etabli.runs.recipe_code import agree_to_read
from etabli.runs.run import Run

Value = TypeVar("Value")


@folders.add_allow_outside
@show_progress("comparing two runs")
def compare(
    a: Run | str | Path,
    b: Run | str | Path,
    data: str | Path | None = None,
    limit: int | None = None,
    max_new_tokens: int | None = None,
    progress: ReportProgress | None = None,
    *,
    scores: Sequence[str | ScoreFunction] | None = None,
    by: Sequence[str] = ("lang",),
    only: str | None = None,
    cluster: str | None = None,
    trust_code: bool = False,
    columns: Mapping[str, str] | None = None,
) -> Comparison:
    """Compare run ``b`` with run ``a``, row by row; on one copy of the weights if they have the same base.

    Args:
        a, b: runs or their folders.
        data: an evaluation set; by default the test rows of ``a``'s data.
        limit, max_new_tokens, progress, scores, by, only, cluster, trust_code, columns: as for ``evaluate``.

    Returns:
        The fields of ``results.json`` with the runs' names as arms and ``b`` as subject, and ``recipes``:
        {key: [a's value, b's value]}. Nothing is written into either run.

    Raises:
        BadInput: a run is compared with itself; further errors as for ``evaluate``.
    """
    a, b = open_adapter(a), open_adapter(b)
    if a.folder.resolve() == b.folder.resolve():
        raise BadInput(f"{a.name} is compared with itself: name two runs.")
    if columns and not data:
        raise BadInput("columns are those of the rows that data names (--column with --data): name these, or none.")
    for run in (a, b):  # both, before a model is loaded_model
        agree_to_read(run.recipe, run.folder, trust_code, "etabli.compare(..., trust_code=True)")
    evaluate_tuned = functools.partial(
        evaluate,
        data=data or _find_own_data(a),
        limit=limit,
        progress=progress,
        scores=scores,
        arms=[TUNED],
        by=by,
        only=only,
        cluster=cluster,
        columns=columns,
        save=False,
    )
    loaded_model = a.load()
    results_a = evaluate_tuned(a, max_new_tokens=max_new_tokens, loaded=loaded_model)
    same_base = _fits_beside(b, loaded_model)
    longest = results_a["made_with"]["max_new_tokens"]
    results_b = evaluate_tuned(b, max_new_tokens=longest, loaded=loaded_model if same_base else None)
    clear_names = a.name != b.name and not {a.name, b.name} & set(ARMS)
    names = (a.name, b.name) if clear_names else (str(a.folder), str(b.folder))
    return {**merge_results([results_a, results_b], names), "recipes": recipe_differences(a, b)}


def _fits_beside(run: Run, loaded_model: LoadedModel) -> bool:
    """Whether a run's adapter can be put on these weights too: the same base, and the same chat template."""
    if run.base_named or resolve(run.recipe.model).hash != loaded_model.source.hash:
        return False
    return read_stored_template(run.adapter) == read_stored_template(loaded_model.adapter)


def _find_own_data(run: Run) -> str | None:
    """The name of the run's own data, as an absolute path where it is a file: the other run finds it by that name.

    None for an adapter from elsewhere.
    """
    if not run.recipe.data:
        return None
    file, entry = split_entry(run.recipe.data, run.folder)
    path = find_path(file, run.folder)
    return f"{path.absolute()}{entry}" if path.exists() else run.recipe.data


def recipe_differences(a: Run, b: Run) -> dict[str, list[object]]:
    """The keys in which two recipes or the runs' frozen settings differ, each with both values."""
    keys_a, keys_b = (run.known_keys() for run in (a, b))
    return {key: [value_a, value_b] for key, value_a, value_b in _walk_pairs(keys_a, keys_b) if value_a != value_b}


def _walk_pairs(
    first: Mapping[str, object], second: Mapping[str, object], path: str = ""
) -> Iterator[tuple[str, object, object]]:
    """Every leaf of two nested mappings: its dotted key, and both values (None where one is missing)."""
    for key in sorted({*first, *second}):
        value_a, value_b = first.get(key), second.get(key)
        if isinstance(value_a, dict) and isinstance(value_b, dict):
            yield from _walk_pairs(value_a, value_b, f"{path}{key}.")
        else:
            yield f"{path}{key}", value_a, value_b


def merge_results(evaluations: Sequence[Results], names: Sequence[str]) -> Results:
    """Merge evaluations of the same rows: their subjects become arms under these names, and the last is judged.

    Raises:
        BadData: the evaluations have different rows.
    """
    first = evaluations[0]
    for name, results in zip(names, evaluations):
        if [row["id"] for row in results["rows"]] != [row["id"] for row in first["rows"]]:
            raise BadData(f"{names[0]} and {name} were not asked the same rows: name a data set with --data.")
    metrics, warnings = _comparable_metrics(evaluations)
    subjects = {name: results["subject"] for name, results in zip(names, evaluations)}
    metric_names = [metric["name"] for metric in metrics]
    rows = [
        _merge_row(versions, subjects, metric_names)
        for versions in zip(*(results["rows"] for results in evaluations), strict=True)
    ]
    for name, results in zip(names, evaluations):
        warnings += [f"{name}: {text}" for text in results["warnings"] if not text.startswith("OVERLAP")]
    return summarise(
        {
            **first,
            "model": ", ".join(dict.fromkeys(results["model"] for results in evaluations)),
            "made_with": {name: results["made_with"] for name, results in zip(names, evaluations)},
            "arms": list(names),
            "subject": names[-1],
            "rivals": list(names[:-1]),
            "metrics": metrics,
            "rows": rows,
            "cleaned": {
                name: results.get("cleaned", {}).get(results["subject"], {})
                for name, results in zip(names, evaluations)
            },
            "warnings": [*overlap_caveats(rows), *warnings],
        }
    )


def _comparable_metrics(evaluations: Sequence[Results]) -> tuple[list[Metric], list[str]]:
    """The metrics with the same meaning in all evaluations, and a warning for every other metric.

    A loss per token is comparable only between models with the same tokens.
    """
    settings = [results["made_with"] for results in evaluations]
    same_base = len({(of_run["template_hash"], of_run["model_hash"]) for of_run in settings}) == 1
    metrics: list[Metric] = []
    warnings = []
    for metric in evaluations[0]["metrics"]:
        name = metric["name"]
        twins = [twin for results in evaluations for twin in results["metrics"] if twin["name"] == name]
        if len(twins) < len(evaluations) or len({twin["hash"] for twin in twins}) > 1:
            warnings.append(f"{name} is left out: it was not made in the same way for all.")
        elif metric["unit"] == LOSS and not same_base:
            warnings.append(f"{name} is left out: the bases differ, and their tokens can't be compared.")
        else:
            metrics.append({**metric, "unit": functools.reduce(_wider_unit, (twin["unit"] for twin in twins))})
    return metrics, warnings


def _wider_unit(first: str, second: str) -> str:
    """The unit that holds for the values of both; the unit of a custom score follows from each run's values."""
    order = (SHARE, MEAN, NUMBER)
    return max(first, second, key=order.index) if {first, second} <= set(order) else first


def _merge_row(versions: Sequence[AnsweredRow], subjects: Mapping[str, str], metrics: Sequence[str]) -> AnsweredRow:
    """One test row with the answers and values of each evaluation's subject."""

    def collect(entries: Iterable[Mapping[str, Value]]) -> dict[str, Value]:
        """By the new names the entry of each evaluation's subject, where it has one."""
        items = zip(subjects.items(), entries)
        return {name: by_system[subject] for (name, subject), by_system in items if subject in by_system}

    errors = {metric: collect(row["errors"].get(metric, {}) for row in versions) for metric in metrics}
    return {
        **versions[0],
        "rendered": collect(row["rendered"] for row in versions),
        "answers": collect(row["answers"] for row in versions),
        "thoughts": collect(row.get("thoughts", {}) for row in versions),
        "calls": collect(row.get("calls", {}) for row in versions),
        "unreadable_calls": collect(row.get("unreadable_calls", {}) for row in versions),
        "raw": collect(row["raw"] for row in versions),
        "cut": [new for (new, old), row in zip(subjects.items(), versions) if old in row.get("cut", [])],
        "correct": collect(row["correct"] for row in versions),
        "values": {metric: collect(row["values"][metric] for row in versions) for metric in metrics},
        "errors": {metric: by_name for metric, by_name in errors.items() if by_name},
        "overlap": next((row["overlap"] for row in versions if row["overlap"]), None),
    }

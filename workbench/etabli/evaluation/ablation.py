"""Compare the filters with other choices of rows: one short recipe on filtered, unfiltered, random and longest rows.

``random`` are as many of the unfiltered rows as the filters left, drawn at random; ``longest`` are as many, those with
the longest answers, which beat curated sets of a thousand (arXiv 2402.04833). A filter that beats neither is useless.
"""

import functools
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from etabli.core import storage
from etabli.core.contracts import (
    ABLATION,
    ALL,
    END_STATES,
    RESULTS,
    UNSEEN,
    VERSION,
    Ablation,
    Difference,
    Results,
    Row,
    Score,
)
from etabli.core.errors import BadData, BadInput, EtabliError
from etabli.curation.apply import apply_filters
from etabli.curation.curation import Curation
from etabli.curation.texts import last_answer
from etabli.data.dataset import Dataset
from etabli.evaluation.compare import merge_results
from etabli.evaluation.evaluate import evaluate
from etabli.evaluation.systems import TUNED
from etabli.evaluation.verdict import BETTER, WORSE, format_difference, judge, sign_of, verdict_sentence
from etabli.models.loading import load
from etabli.runs.events import last_of_kind
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run

FILTERED = "filtered"
ARMS = ("unfiltered", "random", "longest", FILTERED)  # the last is judged
STEPS = 60
WITHOUT = "without-"  # begins the name of an arm with all filters but one
DECISIONS_NOTE = "The filtered rows are also what people made of them: {} decisions stand."
ONE_SEED = "Each arm was trained once: intervals cover the choice of test rows, not the luck of a training run."
Say = Callable[[str], None]


def ablate(
    curation: Curation,
    out: str | Path,
    recipe: dict[str, Any] | None = None,
    arms: Sequence[str] = ARMS,
    scores: Sequence[str] | None = None,
    limit: int | None = None,
    max_new_tokens: int | None = None,
    say: Say = lambda text: None,
    trust_code: bool = False,
) -> Ablation:
    """Train one run on each choice of rows for the same steps, and compare the runs on the same test rows.

    Args:
        curation: the curation; its test rows are those marked ``test``, or ``eval_data``.
        out: a folder for the arms; an arm that is complete there, with the same rows and recipe, is not trained again.
        recipe: keys of the training recipe but ``data``; by default 60 steps, and the recipe's own defaults.
        arms: names from ``ARMS``, and ``without-NAME`` for all filters but that one; ``filtered`` is always added.
        scores, limit (test rows in each language), max_new_tokens: as for ``evaluate``.
        say: called with a line about each arm when it begins.
        trust_code: as for ``Run.start`` and ``Run.resume``, for every arm.

    Raises:
        BadData: no test rows, or filters that reject nothing or all; BadInput: an unknown arm, or keys that make the
        arms differ.
    """
    keys = _recipe_keys(recipe or {})
    rows_by_arm = {arm: choose_rows(curation, arm) for arm in _arm_names(arms, curation)}
    out = Path(out)
    runs: dict[str, Run] = {}
    for arm, rows in rows_by_arm.items():
        folder = out.absolute() / arm
        _save_rows(Dataset(rows, {"ablation": arm, **curation.provenance()}), folder)
        arm_recipe = Recipe(**keys, data=str(folder / "data"))
        say(f"{arm}: {len(rows)} rows, {arm_recipe.max_steps} steps")
        runs[arm] = _train(arm, arm_recipe, folder / "run", trust_code)
    evaluate_arm = functools.partial(evaluate, scores=scores, limit=limit, max_new_tokens=max_new_tokens)
    results = _evaluate_arms(runs, curation, out / "tests", evaluate_arm, say)
    results["warnings"].append(ONE_SEED)
    if curation.standing:
        results["warnings"].append(DECISIONS_NOTE.format(len(curation.standing)))
    storage.write_json(out / RESULTS, results)
    ablation = _report(results, runs, {arm: len(rows) for arm, rows in rows_by_arm.items()}, curation, out / RESULTS)
    storage.write_json(out / ABLATION, ablation)
    return ablation


def _recipe_keys(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe keys of every arm. All arms have the same steps, so that they differ in their rows alone."""
    wrong = [name for name in ("data", "eval_data", "epochs") if recipe.get(name) is not None]
    if wrong:
        raise BadInput(f"An ablation chooses {', '.join(wrong)} itself: all arms have the same steps (max_steps).")
    # Unfiltered rows may be empty, which a filter removes: they must not stop the other arms.
    defaults = {"max_steps": STEPS, "checkpoint_every": 10_000, "sample_every": 10_000, "empty_rows": "leave_out"}
    return defaults | recipe


def _arm_names(arms: Sequence[str], curation: Curation) -> list[str]:
    """The names without repetition, the filtered arm last."""
    choices = {*ARMS, *(WITHOUT + step.filter for step in curation.recipe.filters)}
    if set(arms) - choices or len({*arms, FILTERED}) < 2:
        raise BadInput(f"The arms are some of {', '.join(sorted(choices))}; {FILTERED} is always one.")
    return [*(arm for arm in dict.fromkeys(arms) if arm != FILTERED), FILTERED]


def choose_rows(curation: Curation, arm: str) -> list[Row]:
    """The training rows of an arm.

    Raises:
        BadData: the filters reject nothing, or everything, or there are no test rows.
    """
    source_rows, filtered_indices = curation.source_rows, curation.result.kept_rows
    count = len(filtered_indices)
    if not 0 < count < len(source_rows):
        raise BadData(f"The filters leave {count} of {len(source_rows)} rows: there is nothing to compare.")
    if not curation.evaluation_rows:
        raise BadData("No row is marked test and no eval_data is named: mark some with Dataset.with_test().")
    if arm == FILTERED:
        return [curation.result.annotated_row(index) for index in filtered_indices]
    if arm == "unfiltered":
        return source_rows
    if arm.startswith(WITHOUT):
        steps = tuple(step for step in curation.recipe.filters if step.filter != arm.removeprefix(WITHOUT))
        recipe = curation.recipe.model_copy(update={"filters": steps})
        result = apply_filters(curation.features, recipe, curation.standing)
        return [result.annotated_row(index) for index in result.kept_rows]
    if arm == "random":
        return random.Random(f"{curation.recipe.seed}-ablate").sample(source_rows, count)
    return sorted(source_rows, key=lambda row: -len(last_answer(row)))[:count]


def _save_rows(data: Dataset, folder: Path) -> None:
    """Save an arm's rows, or check that the saved rows are the same."""
    path = folder / "data"
    if not path.exists():
        data.save(path)
    elif Dataset.open(path).hash != data.hash:
        raise BadInput(f"{folder} holds an arm of other rows: choose another folder. Nothing was changed.")


def _train(arm: str, recipe: Recipe, folder: Path, trust_code: bool) -> Run:
    """The arm's complete run: started, resumed, or read if it was complete before."""
    run = Run.ensure(recipe, folder, trust_code)
    if run.state in END_STATES and run.state != "completed":
        run.resume(trust_code=trust_code)
    run.wait()
    if run.state != "completed":
        raise EtabliError(f"Training on {arm} rows {run.state}: {run.why} Its log is in {run.folder}.")
    return run


def _evaluate_arms(
    runs: dict[str, Run], curation: Curation, tests: Path, evaluate_arm: Callable[..., Results], say: Say
) -> Results:
    """The merged results of all arms on the same test rows; the weights are loaded_model once."""
    Dataset(curation.evaluation_rows, {"ablation": "tests"}).save(tests)
    first = next(iter(runs.values()))
    loaded_model = load(first.recipe.model, adapter=first.adapter, dtype=first.dtype)
    evaluations = []
    for arm, run in runs.items():
        say(f"{arm}: asked {len(curation.evaluation_rows)} test rows")
        evaluations.append(
            evaluate_arm(
                run, tests, loaded=loaded_model, arms=[TUNED], save=False, progress=lambda system, count, total: None
            )
        )
    return merge_results(evaluations, list(runs))


def _report(
    results: Results, runs: dict[str, Run], row_counts: dict[str, int], curation: Curation, path: Path
) -> Ablation:
    part = _deciding_slice(results)
    return {
        "version": VERSION,
        "arms": [
            {
                "name": arm,
                "rows": row_counts[arm],
                "run": str(run.folder),
                "steps": run.progress()["step"],
                "trained_tokens": last_of_kind(run.events(), "start").get("trained_tokens_total"),
                "scores": {s["name"]: s["arms"].get(arm) for s in results["scores"] if s["slice"] == part},
            }
            for arm, run in runs.items()
        ],
        "differences": [
            {
                "score": score["name"],
                "unit": score["unit"],
                "better": score["better"],
                "slice": score["slice"],
                **difference,
            }
            for score in results["scores"]
            for difference in score["differences"]
        ],
        "said": describe_effect(results),
        "warnings": results["warnings"],
        "n": len(results["rows"]),
        "verdict": results["verdict"],
        "seed": results["seed"],
        "curation": curation.summary(),
        "results": str(path),
    }


def _deciding_slice(results: Results) -> str:
    """The rows that no arm trained on, else all rows, else the first slice."""
    parts = list(results["verdict"])
    return next((part for part in (UNSEEN, ALL) if part in parts), parts[0])


def describe_effect(results: Results) -> list[str]:
    """Sentences: the verdict, and the effect of the filters against each other choice of rows."""
    part = _deciding_slice(results)
    score = next(score for score in results["scores"] if score["slice"] == part)
    sentences = [describe_difference(difference, score) for difference in score["differences"]]
    return [verdict_sentence(part, results["verdict"][part]), *sentences]


def describe_difference(difference: Difference, score: Score) -> str:
    """The effect of the filters against one other choice, by the rule of the verdict, as a sentence."""
    outcome, _, why = judge([difference], sign_of(score["better"]))
    comparison, conclusion = {
        BETTER: ("better than", ""),
        WORSE: ("worse than", ": the filters bought nothing"),
    }.get(outcome, ("no better than", ": the filters bought nothing that these rows can show"))
    reason = f"; {why}" if why else ""
    by_score = f"by {score['name']} ({format_difference(difference, score['unit'])}{reason})"
    return f"{FILTERED} rows are {comparison} {difference['minus']} ones {by_score}{conclusion}."

"""What did the filters buy? The same short recipe on filtered, unfiltered, random and longest rows.

``random`` are as many of the unfiltered rows as the filters left, drawn by chance; ``longest`` as many, those with the
longest answers, which beat curated sets of a thousand (arXiv 2402.04833). A filter that beats neither bought nothing.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from etabli.core import storage
from etabli.core.contracts import (
    ABLATED,
    ALL,
    ENDED,
    RESULTS,
    UNSEEN,
    VERSION,
    Ablated,
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
from etabli.evaluation import evaluate
from etabli.evaluation.compare import merge_results
from etabli.evaluation.systems import TUNED
from etabli.evaluation.verdict import BETTER, WORSE, format_difference, judge, verdict_sentence
from etabli.models.loading import load
from etabli.runs.events import last_of_kind
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run

FILTERED = "filtered"
ARMS = ("unfiltered", "random", "longest", FILTERED)  # the last is judged
STEPS = 60
WITHOUT = "without-"  # an arm with all filters but one
Say = Callable[[str], None]


def ablate(
    desk: Curation,
    out: str | Path,
    recipe: dict[str, Any] | None = None,
    arms: Sequence[str] = ARMS,
    scores: Sequence[str] | None = None,
    limit: int | None = None,
    max_new_tokens: int | None = None,
    say: Say = lambda text: None,
    trust_code: bool = False,
) -> Ablated:
    """Train on each choice of rows for the same steps, and compare on the same test rows.

    Args:
        desk: the curation; its test rows are asked (those marked ``test``, or ``eval_data``).
        out: a folder for the arms; an arm that is complete there, with the same rows and recipe, is not trained again.
        recipe: keys of the training recipe but ``data``; by default 60 steps and the rest by default.
        arms: which of ``ARMS``, and ``without-NAME``: all filters but that; ``filtered`` is always there.
        scores, limit (test rows a language), max_new_tokens: as for ``evaluate``.
        say: told how far it is.
        trust_code: as for ``Run.start`` and ``Run.resume``, of every arm.

    Raises:
        BadData: no test rows, or filters that reject nothing or all; BadInput: an unknown arm, or keys that make the
        arms differ.
    """
    keys = _keys(recipe or {})
    names = _names(arms, desk)
    chosen = {name: choose_rows(desk, name) for name in names}
    out = Path(out)
    runs = {name: _trained(name, rows, desk, keys, out, say, trust_code) for name, rows in chosen.items()}
    asking = {"limit": limit, "scores": scores, "max_new_tokens": max_new_tokens}
    held = _evaluated(runs, desk, out, asking, say)
    people = [PEOPLE.format(len(desk.standing))] * bool(desk.standing)
    results = {**held, "warnings": [*held["warnings"], ONE_SEED, *people]}
    storage.write_json(out / RESULTS, results)
    made = _told(results, runs, chosen, desk, out / RESULTS)
    storage.write_json(out / ABLATED, made)
    return made


PEOPLE = "The filtered rows are also what people made of them: {} decisions stand."
ONE_SEED = "Each arm was trained once: intervals cover the choice of test rows, not the luck of a training run."


def _keys(recipe: dict[str, Any]) -> dict[str, Any]:
    """The keys of every arm's run; as many steps for all, or rows alone would not be what differs."""
    wrong = [name for name in ("data", "eval_data", "epochs") if recipe.get(name) is not None]
    if wrong:
        raise BadInput(f"An ablation chooses {', '.join(wrong)} itself: all arms have the same steps (max_steps).")
    # What a filter is there to take out must not keep the others from being trained.
    own = {"max_steps": STEPS, "checkpoint_every": 10_000, "sample_every": 10_000, "empty_rows": "leave_out"}
    return own | recipe


def _names(arms: Sequence[str], desk: Curation) -> list[str]:
    known = {*ARMS, *(WITHOUT + step.filter for step in desk.recipe.filters)}
    if set(arms) - known or len({*arms, FILTERED}) < 2:
        raise BadInput(f"The arms are some of {', '.join(sorted(known))}; {FILTERED} is always one.")
    return [*(name for name in dict.fromkeys(arms) if name != FILTERED), FILTERED]


def choose_rows(desk: Curation, name: str) -> list[Row]:
    """The training rows of an arm.

    Raises:
        BadData: the filters reject nothing, or everything, or there is nothing to test on.
    """
    kept = desk.result.kept_rows
    if not 0 < len(kept) < len(desk.source_rows):
        raise BadData(f"The filters leave {len(kept)} of {len(desk.source_rows)} rows: there is nothing to compare.")
    if not desk.evaluation_rows:
        raise BadData("No row is marked test and no eval_data is named: mark some with Dataset.with_test().")
    if name == FILTERED:
        return [desk.result.annotated_row(at) for at in kept]
    if name == "unfiltered":
        return desk.source_rows
    if name.startswith(WITHOUT):
        steps = [step for step in desk.recipe.filters if step.filter != name.removeprefix(WITHOUT)]
        done = apply_filters(desk.features, desk.recipe.model_copy(update={"filters": tuple(steps)}), desk.standing)
        return [done.annotated_row(at) for at in done.kept_rows]
    if name == "random":
        return random.Random(f"{desk.recipe.seed}-ablate").sample(desk.source_rows, len(kept))
    return sorted(desk.source_rows, key=lambda row: -len(last_answer(row)))[: len(kept)]


def _trained(
    name: str, rows: list[Row], desk: Curation, keys: dict[str, Any], out: Path, say: Say, trust_code: bool
) -> Run:
    """The arm's run: begun, gone on with, or looked at if it is complete."""
    data, folder = Dataset(rows, {"ablation": name, **desk.provenance()}), out.absolute() / name
    recipe = Recipe(**keys, data=str(folder / "data"))
    known = (folder / "data").exists()
    if known and Dataset.open(folder / "data").hash != data.hash:
        raise BadInput(f"{folder} holds an arm of other rows: choose another folder. Nothing was changed.")
    if not known:
        data.save(folder / "data")
    say(f"{name}: {len(rows)} rows, {recipe.max_steps} steps")
    run = Run.ensure(recipe, folder / "run", trust_code)
    if run.state in ENDED and run.state != "completed":
        run.resume(trust_code=trust_code)
    run.wait()
    if run.state != "completed":
        raise EtabliError(f"Training on {name} rows {run.state}: {run.why} Its log is in {run.folder}.")
    return run


def _evaluated(runs: dict[str, Run], desk: Curation, out: Path, asking: dict[str, Any], say: Say) -> Results:
    """All arms asked the same rows, on one copy of the weights, as one set of results."""
    Dataset(desk.evaluation_rows, {"ablation": "tests"}).save(out / "tests")
    first = next(iter(runs.values()))
    loaded = load(first.recipe.model, adapter=first.adapter, dtype=first.dtype)
    held = []
    for name, run in runs.items():
        say(f"{name}: asked {len(desk.evaluation_rows)} test rows")
        held.append(
            evaluate.evaluate(run, out / "tests", loaded=loaded, arms=[TUNED], save=False, progress=_silent, **asking)
        )
    return merge_results(held, list(runs))


def _silent(what: str, done: int, total: int) -> None:
    """The arm was named; its rows need not be."""


def _told(results: Results, runs: dict[str, Run], chosen: dict, desk: Curation, path: Path) -> Ablated:
    whole = _whole(results)
    arms = [
        {
            "name": name, "rows": len(chosen[name]), "run": str(run.folder), "steps": run.progress()["step"],
            "trained_tokens": last_of_kind(run.events(), "start").get("trained_tokens_total"),
            "scores": {one["name"]: one["arms"].get(name) for one in results["scores"] if one["slice"] == whole},
        }
        for name, run in runs.items()
    ]  # fmt: skip
    differences = [
        {"score": one["name"], "unit": one["unit"], "better": one["better"], "slice": one["slice"], **gap}
        for one in results["scores"]
        for gap in one["differences"]
    ]
    return {
        "version": VERSION, "arms": arms, "differences": differences, "said": describe_effect(results),
        "warnings": results["warnings"],
        "n": len(results["rows"]),
        "verdict": results["verdict"], "seed": results["seed"], "curation": dict(desk.summary()), "results": str(path),
    }  # fmt: skip


def _whole(results: Results) -> str:
    """The slice that decides: rows that no arm trained on, else all, whatever that is called."""
    parts = list(results["verdict"])
    return next((part for part in (UNSEEN, ALL) if part in parts), parts[0])


def describe_effect(results: Results) -> list[str]:
    """What the filters bought against each other choice of rows, in words."""
    whole = _whole(results)
    score = next(one for one in results["scores"] if one["slice"] == whole)
    lines = [verdict_sentence(whole, results["verdict"][whole])]
    return lines + [_bought(gap, score) for gap in score["differences"]]


def _bought(gap: Difference, score: Score) -> str:
    """Against one other choice, by the rule of the verdict: its interval, and the exact test on rows that changed."""
    found, _, why = judge([gap], 1 if score["better"] == "higher" else -1)
    words = {BETTER: ("better than", ""), WORSE: ("worse than", ": the filters bought nothing")}
    better, nothing = words.get(found, ("no better than", ": the filters bought nothing that these rows can show"))
    by = f"by {score['name']} ({format_difference(gap, score['unit'])}{f'; {why}' if why else ''})"
    return f"{FILTERED} rows are {better} {gap['minus']} ones {by}{nothing}."

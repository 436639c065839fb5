"""Base against tuned, prompted and lookup: every answer, every score, the verdict."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from etabli import environment, storage
from etabli.contracts import ARMS, RESULTS, VERDICT, VERSION, Answered, Results
from etabli.errors import BadInput
from etabli.evaluation import marking, sets
from etabli.evaluation.arms import LOOKUP, SHOTS, TUNED, Arm, Say, answer, choose, gather, longest_answer, weigh
from etabli.evaluation.notices import notices
from etabli.evaluation.scores import Score, default, wanted
from etabli.evaluation.scores.score import LOSS, SHARE
from etabli.evaluation.sets import TestSet
from etabli.evaluation.summary import summarise
from etabli.models.loading import Loaded, load
from etabli.training.run import Run
from etabli.training.waiting import Line

PROGRESS = "evaluating.json"


def evaluate(
    run: Run | str | Path,
    data: str | Path | None = None,
    limit: int | None = None,
    max_new_tokens: int | None = None,
    loaded: Loaded | None = None,
    progress: Say | None = None,
    *,
    scores: Sequence[str | Callable | Score] | None = None,
    arms: Sequence[str] = ARMS,
    by: Sequence[str] = ("lang",),
    only: str | None = None,
    cluster: str | None = None,
    shots: int = SHOTS,
    save: bool = True,
) -> Results:
    """Compare a run's adapter with its base and its rivals on the test rows, on one copy of the weights.

    Args:
        run: a run or its folder.
        data: an evaluation set (rows marked ``test``, or all); by default the test rows of the run's own data.
        limit: at most this many test rows a language.
        max_new_tokens: longest answer, for every arm; by default told by the truths.
        loaded: base and adapter, if they are in memory already.
        progress: called with (what, done, total); by default a line on stderr.
        scores: names (``evaluation.scores.wanted.NAMES``), files, functions; the first decides the verdict. By
            default what suits the rows.
        arms: who answers; names of checkpoints (``step-000040``) may stand among them.
        by: columns to slice by: ``lang``, ``length``, ``source``, or any column of the data.
        only: ``COLUMN=VALUE``: these test rows alone.
        cluster: the column whose values stand or fall together; by default template, conversation or document.
        shots: worked examples for the prompted base.
        save: write ``results.json`` and ``verdict.json`` into the run folder.

    Returns:
        What ``results.json`` holds.

    Raises:
        BadData: no test rows, no training rows for the rivals, an unknown column, an empty slice; BadInput: an unknown
        score or arm; WrongAdapter; DeviceBusy: a run owns the device.
    """
    run = Run.attach(run)
    asked = sets.gather(run, data, limit, by, only, cluster)
    chosen = wanted(scores) if scores else default(asked.tests, [sets.truth(row) for row in asked.tests])
    loaded = loaded or load(run.recipe.model, adapter=run.adapter)
    longest = max_new_tokens or longest_answer(asked, loaded.tokenizer)
    answering = gather(list(arms), asked, run, loaded, longest, shots)
    subject = _subject(answering)
    line = Line()
    for arm in answering:
        _let(arm, asked, loaded, longest, chosen, _saying(run, line, progress))
    line.close()
    (run.folder / PROGRESS).unlink(missing_ok=True)
    results = _results(run, asked, loaded, answering, subject, chosen, {"max_new_tokens": longest, "shots": shots})
    if save:
        storage.write_json(run.folder / RESULTS, results)
        storage.write_json(run.folder / VERDICT, results["verdict"])
    return results


def _subject(answering: list[Arm]) -> str:
    """Who is judged: the tuned model, or the last checkpoint named in its place."""
    names = [arm.name for arm in answering if arm.name == TUNED or arm.name not in ARMS]
    if not names:
        raise BadInput(f"Nobody is there to be judged: name {TUNED} or a checkpoint among the arms.")
    return TUNED if TUNED in names else names[-1]


def _let(arm: Arm, asked: TestSet, loaded: Loaded, longest: int, scores: list[Score], say: Say) -> None:
    """Let an arm do all that the scores ask for."""
    answer(arm, asked, loaded, longest, say)
    if any(score.unit == LOSS for score in scores):
        weigh(arm, asked, loaded, say)
    if any(score.from_model and score.unit != LOSS for score in scores):
        choose(arm, asked, [marking.choices_of(row) for row in asked.tests], loaded, say)


def _saying(run: Run, line: Line, progress: Say | None) -> Say:
    """Say how far it is: to the caller, or on a line; and in the run folder, for whoever else is looking."""

    def say(what: str, done: int, total: int) -> None:
        storage.write_json(run.folder / PROGRESS, {"arm": what, "done": done, "total": total})
        if progress:
            progress(what, done, total)
        else:
            line.show(f"{what}: {done}/{total} rows", urgent=done == total)

    return say


def _results(
    run: Run, asked: TestSet, loaded: Loaded, arms: list[Arm], subject: str, scores: list[Score], settings: dict
) -> Results:
    rows = marking.rows(asked, arms, scores)
    metrics = marking.metrics(scores, rows)
    _judge(rows, metrics)
    results: Results = {
        "version": VERSION,
        "seed": run.recipe.seed,
        "model": loaded.name,
        "data_hash": asked.data_hash,
        "made_with": settings | _made_with(run, loaded, asked, arms),
        "arms": [arm.name for arm in arms],
        "subject": subject,
        "rivals": [arm.name for arm in arms if arm.name in ARMS and arm.name != subject],
        "metrics": metrics,
        "scores": [],
        "rows": rows,
        "warnings": notices(asked, arms, rows, metrics, loaded),
        "verdict": {},
    }
    return summarise(results)


def _judge(rows: list[Answered], metrics: list) -> None:
    """Right or wrong by the first score that says yes or no."""
    first = next((metric["name"] for metric in metrics if metric["unit"] == SHARE), None)
    for row in rows:
        said = row["values"].get(first, {}) if first else {}
        row["correct"] = {arm: None if value is None else bool(value) for arm, value in said.items()}


def _made_with(run: Run, loaded: Loaded, asked: TestSet, arms: list[Arm]) -> dict[str, Any]:
    template = str(loaded.tokenizer.chat_template)
    return {
        "model_hash": loaded.source.hash,
        "template_hash": hashlib.sha256(template.encode()).hexdigest(),
        "adapters": {arm.name: _digest(arm.adapter) for arm in arms if arm.adapter and arm.name != LOOKUP},
        "run": run.name,
        "dtype": str(loaded.dtype),
        "clustered_by": asked.clustered_by,
        "processor": environment.processor(),
        "versions": environment.versions(),
    }


def _digest(adapter: Path) -> str:
    return storage.sha256(adapter / "adapter_model.safetensors")

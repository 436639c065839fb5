"""Base against tuned, prompted and lookup: every answer, every score, the verdict."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from etabli.core import folders, machine, storage
from etabli.core.contracts import ARMS, RESULTS, VERDICT, VERSION, Results
from etabli.core.errors import BadData, BadInput, NoSpace
from etabli.evaluation import scoring, test_set
from etabli.evaluation.aggregate import summarise
from etabli.evaluation.baselines import SHOTS
from etabli.evaluation.caveats import list_caveats
from etabli.evaluation.scores import Score, default_scores, load_scores
from etabli.evaluation.scores.score import LOSS, CUSTOM
from etabli.evaluation.systems import TUNED, System, AnswerSettings, ReportProgress, generate_answers, score_choices, build_systems, max_answer_tokens, score_truths
from etabli.evaluation.test_set import TestSet
from etabli.models import adapter_files
from etabli.models.loading import Loaded, load
from etabli.runs.progress import ProgressLine
from etabli.runs.recipe_code import agree_to_read
from etabli.runs.run import Run
from etabli.training.train_data import template_hash

PROGRESS = "evaluating.json"


@folders.takes_allow_outside
def evaluate(
    run: Run | str | Path,
    data: str | Path | None = None,
    limit: int | None = None,
    max_new_tokens: int | None = None,
    loaded: Loaded | None = None,
    progress: ReportProgress | None = None,
    *,
    scores: Sequence[str | Callable | Score] | None = None,
    arms: Sequence[str] = ARMS,
    by: Sequence[str] = ("lang",),
    only: str | None = None,
    cluster: str | None = None,
    shots: int = SHOTS,
    instructions: str | None = None,
    save: bool = True,
    trust_code: bool = False,
) -> Results:
    """Compare a run's adapter with its base and its rivals on the test rows, on one copy of the weights.

    Args:
        run: a run or its folder.
        data: an evaluation set (rows marked ``test``, or all); by default the test rows of the run's own data.
        limit: at most this many test rows a language.
        max_new_tokens: longest answer, for every arm; by default told by the truths.
        loaded: base and adapter, if they are in memory already.
        progress: called with (what, done, total); by default a line on stderr.
        scores: names (``evaluation.scores.registry.NAMES``), files, functions; the first decides the verdict. By
            default what suits the rows.
        arms: who answers; names of checkpoints (``step-000040``) may stand among them.
        by: columns to slice by: ``lang``, ``length``, ``source``, or any column of the data.
        only: ``COLUMN=VALUE``: these test rows alone.
        cluster: the column whose values stand or fall together; by default template, conversation or document.
        shots: worked examples for the prompted base; instructions: what it is told above them, instead of the list of
            intents that it gets where answers are JSON with an ``intent``.
        save: write ``results.json`` and ``verdict.json`` into the run folder.
        trust_code: say yes to the rules that the run's recipe names: they are run to know which rows it trained on.
            The yes is kept; rules of runs that you trained here have it already.
        allow_outside: the run's recipe, or a mapping file, may name data anywhere (``data.run_rows``).

    Returns:
        What ``results.json`` holds.

    Raises:
        BadData: no test rows, an unknown column, an empty slice, rows without the answer that a score needs; BadInput:
        an unknown score or arm; WrongAdapter: also if ``loaded`` is not the run's base; DeviceBusy: a run owns it;
        UntrustedCode: the recipe names rules that need your yes.
    """
    run = Run.attach(run)
    agree_to_read(run.recipe, run.folder, trust_code, f"etabli.evaluate({str(run.folder)!r}, trust_code=True)")
    asked = test_set.build_test_set(run, data, limit, by, only, cluster)
    chosen = load_scores(scores) if scores else default_scores(asked.tests, [test_set.truth(row) for row in asked.tests])
    _require_truths(asked, chosen)
    loaded = loaded or load(run.recipe.model, adapter=run.adapter, dtype=run.dtype)
    asking = AnswerSettings(_longest(max_new_tokens, asked, loaded, chosen), shots, instructions)
    answering = build_systems([arms] if isinstance(arms, str) else list(arms), asked, run, loaded, asking)
    subject = _subject(answering)
    made_with = asked.about | asdict(asking) | _made_with(run, loaded, answering)
    with _saying(run if save else None, progress) as say:
        for arm in answering:
            _let(arm, asked, loaded, asking.max_new_tokens, chosen, say)
    results = _results(run, asked, loaded, answering, subject, chosen, made_with)
    if save:
        storage.write_json(run.folder / RESULTS, results)
        storage.write_json(run.folder / VERDICT, results["verdict"])
    return results


def _require_truths(asked: TestSet, scores: list[Score]) -> None:
    missing = [row["id"] for row in asked.tests if not test_set.truth(row)]
    needing = [score.name for score in scores if score.needs_truth and score.unit != CUSTOM]
    if missing and needing:
        raise BadData(
            f"{len(missing)} of {len(asked.tests)} test rows have no answer to compare with (first {missing[0]}), and "
            f"{', '.join(needing)} need one. Give them answers, or name scores that need none: ifeval, regex, "
            "json_schema, valid_json, your own."
        )


def _longest(given: int | None, asked: TestSet, loaded: Loaded, scores: list[Score]) -> int:
    if given is not None and given < 1:
        raise BadInput(f"max_new_tokens is {given}: an answer needs at least one token.")
    reasoned = any(score.name in ("number", "ifeval") for score in scores)
    return given or max_answer_tokens(asked, loaded.tokenizer, reasoned)


def _subject(answering: list[System]) -> str:
    """Who is judged: the tuned model, or the last checkpoint named in its place."""
    names = [arm.name for arm in answering if arm.name == TUNED or arm.name not in ARMS]
    if not names:
        raise BadInput(f"Nobody is there to be judged: name {TUNED} or a checkpoint among the arms.")
    return TUNED if TUNED in names else names[-1]


def _let(arm: System, asked: TestSet, loaded: Loaded, longest: int, scores: list[Score], say: ReportProgress) -> None:
    """Let an arm do all that the scores ask for."""
    generate_answers(arm, asked, loaded, longest, say)
    if any(score.unit == LOSS for score in scores):
        score_truths(arm, asked, loaded, say)
    if any(score.from_model and score.unit != LOSS for score in scores):
        score_choices(arm, asked, [scoring.row_choices(row) for row in asked.tests], loaded, say)


@contextlib.contextmanager
def _saying(run: Run | None, progress: ReportProgress | None) -> Iterator[ReportProgress]:
    """Say how far it is: to the caller, or on a line; and in the run's folder, for whoever else is looking."""
    line, last = ProgressLine(), [0.0]

    def say(what: str, done: int, total: int) -> None:
        if run is not None and time.monotonic() - last[0] > 1:
            last[0] = time.monotonic()
            with contextlib.suppress(OSError, NoSpace):
                storage.write_json(run.folder / PROGRESS, {"arm": what, "done": done, "total": total})
        if progress:
            progress(what, done, total)
        else:
            line.show(f"{what}: {done}/{total} rows", urgent=done == total)

    try:
        yield say
    finally:
        line.close()
        if run is not None:
            (run.folder / PROGRESS).unlink(missing_ok=True)


def _results(
    run: Run, asked: TestSet, loaded: Loaded, arms: list[System], subject: str, scores: list[Score], made_with: dict
) -> Results:
    rows = scoring.score_rows(asked, arms, scores)
    metrics = scoring.describe_metrics(scores, rows)
    return summarise(
        {
            "version": VERSION,
            "seed": run.recipe.seed,
            "model": loaded.name,
            "data_hash": asked.data_hash,
            "made_with": made_with,
            "arms": [arm.name for arm in arms],
            "subject": subject,
            "rivals": [arm.name for arm in arms if arm.name in ARMS and arm.name != subject],
            "metrics": metrics,
            "scores": [],
            "rows": rows,
            "warnings": list_caveats(asked, arms, rows, metrics, loaded),
            "verdict": {},
        }
    )


def _made_with(run: Run, loaded: Loaded, arms: list[System]) -> dict[str, Any]:
    return {
        "model_hash": loaded.source.hash,
        "template_hash": template_hash(loaded.tokenizer),
        "adapters": {arm.name: adapter_files.weights_hash(arm.adapter) for arm in arms if arm.adapter},
        "run": run.name,
        "dtype": str(loaded.dtype),
        "processor": machine.processor(),
        "versions": machine.versions(),
    }

"""Evaluate a run: the answers of base, prompted, lookup and tuned, every score of them, and the verdict."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from etabli.core import folders, machine, storage
from etabli.core.contracts import ARMS, RESULTS, VERDICT, VERSION, Results
from etabli.core.errors import BadData, BadInput, NoSpace
from etabli.core.os_errors import require_writable
from etabli.core.progress import show_progress
from etabli.evaluation.aggregate import summarise
from etabli.evaluation.baselines import SHOTS
from etabli.evaluation.caveats import list_caveats
from etabli.evaluation.clean_answer import NAME, judged_truth
from etabli.evaluation.scores import Score, default_scores, load_scores
from etabli.evaluation.scores.score import CUSTOM, LOSS, ScoreFunction
from etabli.evaluation.scoring import count_changes, describe_metrics, row_choices, score_rows
from etabli.evaluation.systems import (
    TUNED,
    AnswerSettings,
    ReportProgress,
    System,
    build_systems,
    generate_answers,
    max_answer_tokens,
    score_choices,
    score_truths,
)
from etabli.evaluation.test_set import TestSet, build_test_set
from etabli.models import adapter_files
from etabli.models.loading import LoadedModel
from etabli.runs.adapter_run import open_adapter
from etabli.runs.recipe_code import agree_to_read
from etabli.runs.run import Run
from etabli.training.train_data import template_hash

PROGRESS = "evaluating.json"


@folders.add_allow_outside
@show_progress("evaluating")
def evaluate(
    run: Run | str | Path,
    data: str | Path | None = None,
    limit: int | None = None,
    max_new_tokens: int | None = None,
    loaded: LoadedModel | None = None,
    progress: ReportProgress | None = None,
    *,
    scores: Sequence[str | ScoreFunction | Score] | None = None,
    arms: Sequence[str] = ARMS,
    by: Sequence[str] = ("lang",),
    only: str | None = None,
    cluster: str | None = None,
    shots: int = SHOTS,
    instructions: str | None = None,
    save: bool = True,
    trust_code: bool = False,
    columns: Mapping[str, str] | None = None,
) -> Results:
    """Compare a run's adapter with its base and the baselines on the test rows, on one copy of the weights.

    Answers and truths are cleaned first (``evaluation.clean_answer``); each tool call in a row
    is a question of its own (``evaluation.call_turns``).

    Args:
        run: a run or its folder, or the folder of a PEFT adapter from elsewhere, with ``data``.
        data: an evaluation set (rows marked ``test``, or all); by default the test rows of the run's own data.
        limit: the greatest number of the data's test rows in each language, each with all its tool calls.
        max_new_tokens: the greatest answer length, for every system; by default it follows from the truths.
        loaded: base and adapter, if they are in memory already.
        progress: called with (system, done, total); by default a line on stderr.
        scores: names (``evaluation.scores.registry.NAMES``), files, functions; the first decides the verdict. By
            default the scores that suit the rows.
        arms: the systems that answer; names of checkpoints (``step-000040``) may be among them.
        by: columns to slice by: ``lang``, ``length``, ``source``, or any column of the data.
        only: ``COLUMN=VALUE`` keeps only these test rows.
        cluster: the column that clusters the rows; by default template, conversation or document.
        shots: worked examples for the prompted base; instructions: the text above them, instead of the list of
            intents that it gets where answers are JSON with an ``intent``.
        save: write ``results.json`` and ``verdict.json`` into the run folder.
        trust_code: agree to run the rules that the run's recipe names, which select the rows it trained on.
            Your consent is stored; rules of runs that you trained here have it already.
        columns: of ``data``: the format's name -> the file's, as for ``etabli.read``.
        allow_outside: the run's recipe, or a mapping file, may name data anywhere (``runs.run_data``).

    Returns:
        The content of ``results.json``.

    Raises:
        BadData: no test rows, an unknown column, an empty slice, rows without the answer that a score needs; BadInput:
        an unknown score or arm; WrongAdapter: also if ``loaded`` is not the run's base; DeviceBusy: a run owns it;
        UntrustedCode: the recipe names rules that need your yes.
    """
    run = open_adapter(run)
    agree_to_read(run.recipe, run.folder, trust_code, f"etabli.evaluate({str(run.folder)!r}, trust_code=True)")
    if save:
        require_writable(run.folder)
    if columns and not data:
        raise BadInput("columns are those of the rows that data names (--column with --data): name these, or none.")
    test_set = build_test_set(run, data, limit, by, only, cluster, columns)
    score_list = _choose_scores(scores, test_set)
    loaded_model = loaded or run.load()
    settings = AnswerSettings(_answer_length(max_new_tokens, test_set, loaded_model, score_list), shots, instructions)
    systems = build_systems([arms] if isinstance(arms, str) else list(arms), test_set, run, loaded_model, settings)
    subject = _find_subject(systems)
    made_with = {**test_set.provenance, **asdict(settings), **_describe_model(run, loaded_model, systems)}
    with _progress_reporter(run.folder if save else None, progress) as report:
        _ask_systems(systems, test_set, score_list, loaded_model, settings, report)
    results = _build_results(systems, subject, test_set, score_list, loaded_model)
    results = summarise({**results, "seed": run.recipe.seed, "made_with": made_with})
    if save:
        storage.write_json(run.folder / RESULTS, results)
        storage.write_json(run.folder / VERDICT, results["verdict"])
    return results


def _choose_scores(scores: Sequence[str | ScoreFunction | Score] | None, test_set: TestSet) -> list[Score]:
    """The scores that were named, or those that suit the rows.

    Raises:
        BadData: rows without the answer that a score needs.
    """
    truths = [judged_truth(row).text for row in test_set.tests]
    score_list = load_scores(scores) if scores else default_scores(test_set.tests, truths)
    _require_truths([row["id"] for row, text in zip(test_set.tests, truths) if not text], len(truths), score_list)
    return score_list


def _ask_systems(
    systems: list[System],
    test_set: TestSet,
    scores: list[Score],
    loaded_model: LoadedModel,
    settings: AnswerSettings,
    report: ReportProgress,
) -> None:
    """Let every system answer every test row, and compute the likelihoods that the scores need."""
    for system in systems:
        generate_answers(system, test_set, loaded_model, settings.max_new_tokens, report)
        if any(score.unit == LOSS for score in scores):
            score_truths(system, test_set, loaded_model, report)
        if any(score.from_model and score.unit != LOSS for score in scores):
            score_choices(system, test_set, [row_choices(row) for row in test_set.tests], loaded_model, report)


def _build_results(
    systems: list[System], subject: str, test_set: TestSet, scores: list[Score], loaded_model: LoadedModel
) -> Results:
    """The results without scores and verdict, which ``summarise`` computes from them."""
    rows = score_rows(test_set, systems, scores)
    metrics = describe_metrics(scores, rows)
    return {
        "version": VERSION,
        "seed": 0,
        "model": loaded_model.name,
        "data_hash": test_set.data_hash,
        "made_with": {},
        "arms": [system.name for system in systems],
        "subject": subject,
        "rivals": [system.name for system in systems if system.name in ARMS and system.name != subject],
        "metrics": metrics,
        "scores": [],
        "rows": rows,
        "cleaned": count_changes(test_set, systems),
        "warnings": list_caveats(test_set, systems, rows, metrics, loaded_model),
        "verdict": {},
    }


def _require_truths(missing: list[str], row_count: int, scores: list[Score]) -> None:
    names = [score.name for score in scores if score.needs_truth and score.unit != CUSTOM]
    if missing and names:
        raise BadData(
            f"{len(missing)} of {row_count} test rows have no answer to compare with (first {missing[0]}), "
            f"and {', '.join(names)} need one. Give them answers, or name scores that need none: ifeval, regex, "
            "json_schema, valid_json, your own."
        )


def _answer_length(
    max_new_tokens: int | None, test_set: TestSet, loaded_model: LoadedModel, scores: list[Score]
) -> int:
    if max_new_tokens is not None and max_new_tokens < 1:
        raise BadInput(f"max_new_tokens is {max_new_tokens}: an answer needs at least one token.")
    with_reasoning = any(score.name in ("number", "ifeval") for score in scores)
    return max_new_tokens or max_answer_tokens(test_set, loaded_model.tokenizer, with_reasoning)


def _find_subject(systems: list[System]) -> str:
    """The name of the system that is judged: the tuned model, or the last checkpoint if it is not there."""
    names = [system.name for system in systems if system.name == TUNED or system.name not in ARMS]
    if not names:
        raise BadInput(f"No system to be judged: name {TUNED} or a checkpoint among the arms.")
    return TUNED if TUNED in names else names[-1]


@contextlib.contextmanager
def _progress_reporter(folder: Path | None, progress: ReportProgress | None) -> Iterator[ReportProgress]:
    """A function that reports progress to the caller or on a line, and each second in the run's folder."""
    last_write = 0.0

    def report(system: str, count: int, total: int) -> None:
        nonlocal last_write
        if folder is not None and time.monotonic() - last_write > 1:
            last_write = time.monotonic()
            with contextlib.suppress(OSError, NoSpace):
                storage.write_json(folder / PROGRESS, {"arm": system, "done": count, "total": total})
        if progress:
            progress(system, count, total)
        task.what = f"asking {system}"
        task.report(count, total)

    try:
        with show_progress("asking the systems") as task:
            yield report
    finally:
        if folder is not None:
            (folder / PROGRESS).unlink(missing_ok=True)


def _describe_model(run: Run, loaded_model: LoadedModel, systems: list[System]) -> dict[str, object]:
    adapters = {system.name: system.adapter for system in systems if system.adapter}
    return {
        "model_hash": loaded_model.source.hash,
        "template_hash": template_hash(loaded_model.tokenizer),
        "adapters": {name: adapter_files.weights_hash(folder) for name, folder in adapters.items()},
        "run": run.name,
        "cleaning": NAME,
        "dtype": str(loaded_model.dtype),
        "processor": machine.processor(),
        "versions": machine.versions(),
    }

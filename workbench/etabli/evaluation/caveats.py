"""The warnings that a reader of the verdict needs first."""

import contextlib
from collections.abc import Sequence

from etabli.core.contracts import ALL, UNSEEN, AnsweredRow, Metric
from etabli.core.errors import BadData
from etabli.evaluation import intervals
from etabli.evaluation.aggregate import rows_in_slice, slice_names
from etabli.evaluation.call_format import CallFormat
from etabli.evaluation.call_probe import find_call_format
from etabli.evaluation.clean_answer import is_call_as_text
from etabli.evaluation.scores.calls import calls_due
from etabli.evaluation.systems import System, context_length
from etabli.evaluation.test_set import TestSet
from etabli.models.loading import LoadedModel
from etabli.rendering.render import Renderer
from etabli.training.train_data import prompt_of

MIN_CLUSTERS = 8  # effective clusters; benchmarks/coverage.py does not vouch for an interval of fewer


def list_caveats(
    test_set: TestSet, systems: list[System], rows: list[AnsweredRow], metrics: list[Metric], loaded_model: LoadedModel
) -> list[str]:
    """Sentences, the gravest first: overlap, rows left out, few clusters, empty and cut answers, scores that failed."""
    return [
        *loaded_model.notes,
        *overlap_caveats(rows),
        *test_set.warnings,
        *_tool_caveats(test_set, loaded_model),
        *_call_caveats(test_set, find_call_format(loaded_model.tokenizer)),
        *cluster_caveats(rows, str(test_set.provenance["clustered_by"])),
        *_answer_caveats(test_set, systems, loaded_model),
        *score_error_caveats(rows, metrics),
    ]


def overlap_caveats(rows: Sequence[AnsweredRow]) -> list[str]:
    """One sentence with the number of test rows that are in the training rows, if there are any."""
    overlaps = [row["overlap"] for row in rows]
    row_count, question_count, total = overlaps.count("row"), overlaps.count("question"), len(rows)
    kinds = []
    if row_count:
        kinds.append(f"{row_count} of {total} test rows stand in the training rows, question and answer")
    if question_count:
        kinds.append(f"{question_count} of {total} test questions were trained with another answer")
    if not kinds:
        return []
    if row_count + question_count < total:
        advice = f"The slice {UNSEEN!r} is without them"
    else:
        advice = "None is left without them: these scores say nothing"
    return [f"OVERLAP: {'; '.join(kinds)}. {advice}."]


def cluster_caveats(rows: Sequence[AnsweredRow], clustered_by: str) -> list[str]:
    """One sentence that names the slices with too few clusters for a reliable interval, if there are any."""
    small_slices = []
    for part in slice_names(rows):
        clusters = [row["cluster"] for row in rows_in_slice(rows, part)]
        if clusters and intervals.effective_clusters(clusters) < MIN_CLUSTERS:
            name = "the whole" if part == ALL else part
            small_slices.append(f"{name} ({len(set(clusters))} clusters in {len(clusters)} rows)")
    if not small_slices:
        return []
    return [f"Too few clusters ({clustered_by}) for a reliable interval: {', '.join(small_slices)}."]


def _tool_caveats(test_set: TestSet, loaded_model: LoadedModel) -> list[str]:
    """One sentence with the number of test rows whose tools, or parts of them, no system saw, if there are any."""
    renderer, count = Renderer(loaded_model.tokenizer), 0
    for row in test_set.tests:
        with contextlib.suppress(BadData):  # a prompt that the template refuses has no answers either
            tools = row.get("tools")
            count += bool(tools and renderer.layout(prompt_of(row), tools, prompt=True).unwritten_tools)
    if not count:
        return []
    return [
        f"{count} of {len(test_set.tests)} test rows have tools that the model's chat template leaves out, whole or in "
        "part: no system saw them, and every score of calls says what it does without."
    ]


def _call_caveats(test_set: TestSet, call_format: CallFormat | None) -> list[str]:
    """Sentences with the number of test rows whose calls can't be judged: the template's can't be read; it is text."""
    total = len(test_set.tests)
    text_count = sum(is_call_as_text(row, call_format) for row in test_set.tests)
    due_count = 0 if call_format else sum(bool(calls_due(row)) for row in test_set.tests)
    caveats = []
    if due_count:
        caveats.append(
            f"{due_count} of {total} test rows have a tool call as their answer, and the calls that this model's chat "
            "template writes, if it writes any, can't be read: every answer of a model counts as one without a call, "
            "so the scores of calls say nothing of it. Choose a model whose chat template writes calls."
        )
    if text_count:
        caveats.append(
            f"{text_count} of {total} test rows have an answer that is a tool call written as text: it is compared as "
            "text, and the scores of calls count none as due there. Write it under tool_calls of the answer."
        )
    return caveats


def _answer_caveats(test_set: TestSet, systems: list[System], loaded_model: LoadedModel) -> list[str]:
    caveats, total, longest = [], len(test_set.tests), context_length(loaded_model)
    for system in systems:
        if unreadable_count := sum(answer.unreadable_calls > 0 for answer in system.answers):
            caveats.append(
                f"{system.name}: {unreadable_count} of {total} answers begin a tool call that can't be parsed; it is "
                "never right: over-calling where no call is due, and where one is due no call."
            )
        if empty_count := sum(not answer.text.strip() for answer in system.answers):
            caveats.append(f"{system.name} answered nothing on {empty_count} of {total} rows.")
        if cut_count := sum(system.cut):
            caveats.append(f"{system.name}: {cut_count} of {total} answers were cut off at max_new_tokens.")
        if long_count := sum(length > longest for length in system.prompt_lengths):
            caveats.append(f"{system.name}: {long_count} prompts are longer than the model's context of {longest}.")
    return caveats


def score_error_caveats(rows: Sequence[AnsweredRow], metrics: list[Metric]) -> list[str]:
    """For each score that raised: the systems, the number of rows, and the first error."""
    caveats = []
    for metric in metrics:
        name = metric["name"]
        errors = [(row["id"], row["errors"][name]) for row in rows if name in row["errors"]]
        if errors:
            systems = dict.fromkeys(system for _, by_system in errors for system in by_system)
            counts = [f"{system} {sum(system in by_system for _, by_system in errors)}" for system in systems]
            first_row, first_error = errors[0][0], next(iter(errors[0][1].values()))
            caveats.append(
                f"{name} failed on {len(errors)} of {len(rows)} rows ({', '.join(counts)}), first on {first_row}: "
                f"{first_error}"
            )
    return caveats

"""Which tokens did the training move? Each answer's log-probabilities under the base and under the tuned model."""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from etabli.core import contract_check, parsing, storage
from etabli.core.contracts import (
    TOKEN_DIFF,
    VERSION,
    AnsweredRow,
    Message,
    Results,
    TokenDiffRow,
    TokenDiffs,
    TokenMoves,
)
from etabli.core.errors import BadInput, Damaged, EtabliError
from etabli.core.progress import show_progress
from etabli.data.questions import answer_message, question
from etabli.evaluation import rescore, systems
from etabli.models.loading import LoadedModel, adapter_hash
from etabli.review.answer_tokens import measure_answer
from etabli.runs.adapter_run import open_adapter
from etabli.runs.run import Run

if TYPE_CHECKING:
    from etabli_widgets import TokenDiff

TRUTH = "truth"
MoveList = Literal["tokens", "ids", "logp", "base_logp", "rank", "base_rank", "kl", "top", "base_top"]
MOVE_LISTS: tuple[MoveList, ...] = get_args(MoveList)  # of ``TokenMoves``: one entry a token
LIMIT = 50  # the default number of answers of each language

Progress = Callable[[int, int], None]


def token_diff(source: Run | str | Path | TokenDiffs, **options: Any) -> "TokenDiff":
    """Return a ``TokenDiff``: how the adapter moves each token of a run's answers.

    Args:
        source: a run or its folder; a ``token_diff.json``; or the result of ``measure``. If the run was measured
            before, that is shown and no model is loaded.
        options: arguments of ``measure``: with any of them the run is measured again.

    Raises:
        BadInput: the run was not evaluated, or as for ``measure``.
        Damaged: the file was changed since it was written.
    """
    from etabli_widgets import TokenDiff

    return TokenDiff({**load_or_measure(source, **options)})


def load_or_measure(source: Run | str | Path | TokenDiffs, **options: Any) -> TokenDiffs:
    """Return the same as ``token_diff``, without the widget."""
    if isinstance(source, dict):
        return source
    return (None if options else load_saved(source)) or measure(source, **options)


def load_saved(source: Run | str | Path) -> TokenDiffs | None:
    """Return what was measured of a run, or a ``token_diff.json``; None if there is nothing. ``said`` names changes."""
    if not isinstance(source, Run) and Path(source).is_file():
        return read_token_diffs(source)
    run = open_adapter(source)
    if not (run.folder / TOKEN_DIFF).is_file():
        return None
    diffs = read_token_diffs(run.folder / TOKEN_DIFF)
    notes = list(diffs["said"])
    if diffs["of"] != TRUTH and not any("truth" in row for row in diffs["rows"]):
        notes.append("The truth's own tokens were not measured then: measure again (etabli token-diff DIR --again).")
    with contextlib.suppress(EtabliError):  # without the adapter or the evaluation the measurement is still valid
        if adapter_hash(run.adapter) != diffs["adapter"]:
            notes.append("The adapter has changed since this was measured: measure again.")
    with contextlib.suppress(EtabliError):
        if _answers_hash(rescore.read_results(run), diffs["of"]) != diffs["answers"]:
            notes.append("The evaluation's answers have changed since this was measured: measure again.")
    return {**diffs, "said": notes}


def _answers_hash(results: Results, system: str) -> str:
    answers = [[row["id"], row["prompt"], _answer_text(row, system)] for row in results["rows"]]
    return hashlib.sha256(json.dumps(answers).encode()).hexdigest()[:16]


def _answer_message(row: AnsweredRow, system: str) -> Message:
    """The answer as a turn: the row's own one, or what a system answered, its tool calls included."""
    truth = answer_message(row["row"])
    if system == TRUTH and truth:
        return truth
    calls = row.get("calls", {}).get(system, [])
    if calls and system not in row.get("unreadable_calls", {}):
        turn_calls: list[dict[str, object]] = []
        for call in calls:  # Mistral's template wants an id, of nine characters
            turn_calls.append({"id": "call00000", "type": "function", "function": {**call}})
        return {"role": "assistant", "content": "", "tool_calls": turn_calls}
    return {"role": "assistant", "content": _answer_text(row, system)}


def _answer_text(row: AnsweredRow, system: str) -> str:
    return row["truth"] if system == TRUTH else row["answers"].get(system, "")


def read_token_diffs(path: str | Path) -> TokenDiffs:
    """Read a ``token_diff.json``.

    Raises:
        BadInput: there is no such file.
        Damaged: it has another format or another version.
    """
    next_step = "To mend it, measure again: etabli token-diff DIR."
    try:
        value = parsing.read_json(path)
    except OSError:
        raise BadInput(f"There is no {path}. Make it with etabli.token_diff(run).") from None
    except parsing.ParseError as error:
        raise Damaged(f"{error} {next_step}") from None
    diffs = contract_check.require(value, TokenDiffs, str(path), next_step)
    if diffs["version"] != VERSION:
        raise Damaged(f"{path} is of version {diffs['version']}, not {VERSION}. {next_step}")
    if (number := next((n for n, row in enumerate(diffs["rows"]) if not _is_whole(row)), None)) is not None:
        raise Damaged(f"{path}: the lists of `rows.{number}.moves` do not hold one entry for each token. {next_step}")
    return diffs


def _is_whole(row: TokenDiffRow) -> bool:
    """Does the row have whole moves, of its answer and of the truth, and a place among them?"""
    truth = row.get("truth")
    is_truth_whole = truth is None or truth["moves"] is None or _are_whole(truth["moves"])
    return is_truth_whole and _are_whole(row["moves"]) and 0 <= row["at"] < len(row["moves"]["ids"])


def _are_whole(moves: TokenMoves) -> bool:
    """Do the moves have as many entries in each list, and choices of two values?"""
    lists: list[Sequence[object]] = [moves[name] for name in MOVE_LISTS]
    choices = [choice for of_token in (*moves["top"], *moves["base_top"]) for choice in of_token]
    has_pairs = all(len(choice) == 2 and isinstance(choice[0], str) for choice in choices)
    return has_pairs and len({len(values) for values in lists}) == 1


@show_progress("measuring tokens")
def measure(
    run: Run | str | Path,
    of: str = systems.TUNED,
    limit: int | None = LIMIT,
    loaded: LoadedModel | None = None,
    alongside: bool = False,
    progress: Progress | None = None,
    results: Results | None = None,
    save: bool = True,
) -> TokenDiffs:
    """Compute the log-probabilities of answers under base and tuned model, and save them in ``token_diff.json``.

    Args:
        run: an evaluated run; its ``results.json`` has the prompts and answers, unless ``results`` are given.
        of: whose answers: ``tuned``, ``base``, another system of the evaluation, or ``truth``.
        limit: the first so many answers of each language; None: all.
        loaded: base and adapter, if they are already in memory.
        alongside: load the model even while a run uses the device.
        progress: called with (done, total); by default a line on stderr.

    Raises:
        BadInput: the run was not evaluated, or the system did not answer.
        DeviceBusy: a run uses the device.
    """
    run = open_adapter(run)
    results = results or rescore.read_results(run)
    if of not in (TRUTH, *results["arms"]):
        raise BadInput(f"No system called {of!r} has answered; there are {', '.join([*results['arms'], TRUTH])}.")
    chosen_rows = _select_rows(results, of, limit)
    model = loaded or run.load(alongside=alongside)
    rows: list[TokenDiffRow] = []
    with show_progress("measuring answers under both models", len(chosen_rows)) as task:
        for number, row in enumerate(chosen_rows, 1):
            rows.append(_measure_row(model, row, of))
            (progress or task.report)(number, len(chosen_rows))
    notes = list(model.notes)
    if len(chosen_rows) < len(results["rows"]):
        notes.append(f"At most {limit} answers of each language were measured.")
    context_length = systems.context_length(model)
    if too_long := sum(len(row["moves"]["ids"]) > context_length for row in rows):
        notes.append(f"{too_long} answers are longer than the {context_length} tokens that the model was made for.")
    diffs: TokenDiffs = {
        "version": VERSION,
        "model": model.name,
        "adapter": adapter_hash(run.adapter),
        "of": of,
        "limit": limit,
        "answers": _answers_hash(results, of),
        "rows": sorted(rows, key=lambda row: (-row["move"], row["id"])),
        "said": notes,
    }
    if save:
        storage.write_json(run.folder / TOKEN_DIFF, diffs)
    return diffs


def _measure_row(model: LoadedModel, row: AnsweredRow, system: str) -> TokenDiffRow:
    messages, tools = question(row["row"]), row["row"].get("tools")
    truth = _answer_message(row, TRUTH) if system != TRUTH and row["truth"] else None
    answer = _answer_message(row, system)
    diff_row = measure_answer(model, row["id"], row["prompt"], messages, answer, tools, truth)
    diff_row["answer"] = _answer_text(row, system)
    if "truth" in diff_row:
        diff_row["truth"]["text"] = row["truth"]
    return {**diff_row, "cut": system in row.get("cut", [])}


def _select_rows(results: Results, system: str, limit: int | None) -> list[AnsweredRow]:
    """The first ``limit`` rows of each language in which the system's answer is not empty."""
    counts: Counter[str] = Counter()
    rows = []
    for row in results["rows"]:
        if _answer_text(row, system):
            counts[row["lang"]] += 1
            if limit is None or counts[row["lang"]] <= limit:
                rows.append(row)
    return rows

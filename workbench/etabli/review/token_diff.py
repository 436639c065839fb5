"""Which tokens did the training move? Each answer's log-probabilities under base and tuned model, side by side."""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from etabli.core import parsing, storage
from etabli.core.contracts import TOKEN_DIFF, VERSION, Answered, Message, Results, TokenDiffRow, TokenDiffs, TokenMoves
from etabli.core.errors import BadInput, Damaged, EtabliError
from etabli.evaluation import rescore, systems, test_set
from etabli.models import token_divergence
from etabli.models.loading import Loaded, adapter_hash, load
from etabli.rendering.render import render
from etabli.runs.run import Run

TRUTH = "truth"
LIMIT = 50  # answers, where nobody says how many

Progress = Callable[[int, int], None]


def token_diff(of: Run | str | Path | TokenDiffs, **how: Any):
    """How the adapter moves each token of a run's answers: a ``TokenDiff``.

    Args:
        of: a run or its folder, where what was measured before is shown and no model is loaded; a ``token_diff.json``;
            or what ``measure`` gives.
        how: ``measure``'s arguments: with any of them a run is measured anew.

    Raises:
        BadInput: nothing was evaluated there, or as ``measure``; Damaged: the file is not as it was written.
    """
    from etabli_widgets import TokenDiff

    return TokenDiff(load_or_measure(of, **how))


def load_or_measure(of: Run | str | Path | TokenDiffs, **how: Any) -> TokenDiffs:
    """The same without the widget."""
    if isinstance(of, dict):
        return of
    return (None if how else load_saved(of)) or measure(of, **how)


def load_saved(of: Run | str | Path) -> TokenDiffs | None:
    """What was measured before of a run, or of a ``token_diff.json``; None if nothing was. Says what changed since."""
    if not isinstance(of, Run) and Path(of).is_file():
        return read_token_diffs(of)
    run = Run.attach(of)
    if not (run.folder / TOKEN_DIFF).is_file():
        return None
    held = read_token_diffs(run.folder / TOKEN_DIFF)
    return {**held, "said": [*held["said"], *_stale(held, run)]}


def _stale(held: TokenDiffs, run: Run) -> list[str]:
    now: dict[str, str] = {}
    with contextlib.suppress(EtabliError):  # the adapter, or the evaluation, may be gone: the file is still true
        now["adapter"] = adapter_hash(run.adapter)
    with contextlib.suppress(EtabliError):
        now["answers"] = _answers_hash(rescore.read_results(run), held["of"])
    names = {"adapter": "The adapter has", "answers": "The evaluation's answers have"}
    return [f"{names[key]} changed since this was measured: measure again." for key in now if now[key] != held[key]]


def _answers_hash(results: Results, of: str) -> str:
    said = [[row["id"], row["prompt"], _answer_of(row, of)] for row in results["rows"]]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def _answer_of(row: Answered, of: str) -> str:
    return row["truth"] if of == TRUTH else row["answers"].get(of, "")


def read_token_diffs(path: str | Path) -> TokenDiffs:
    """A ``token_diff.json``.

    Raises:
        BadInput: there is no such file; Damaged: it is none, or of another version.
    """
    try:
        held = parsing.read_json(path)
        whole = isinstance(held, dict) and set(TokenDiffs.__annotations__) <= set(held) and held["version"] == VERSION
        if not whole or not all(map(_whole, held["rows"])):
            raise ValueError("keys are missing, or it is of another version")
    except OSError:
        raise BadInput(f"There is no {path}: etabli.token_diff(run) makes one.") from None
    except (ValueError, TypeError) as error:
        raise Damaged(f"{path} is not as it was written ({error}): measure again.") from None
    return held


def _whole(row: Any) -> bool:
    if not isinstance(row, dict) or not set(TokenDiffRow.__annotations__) <= set(row):
        return False
    moves = row["moves"]
    lists = isinstance(moves, dict) and [moves.get(name) for name in TokenMoves.__annotations__]
    return bool(lists) and all(isinstance(one, list) for one in lists) and len({len(one) for one in lists}) == 1


def measure(
    run: Run | str | Path,
    of: str = systems.TUNED,
    limit: int | None = LIMIT,
    loaded: Loaded | None = None,
    alongside: bool = False,
    progress: Progress | None = None,
    results: Results | None = None,
    save: bool = True,
) -> TokenDiffs:
    """Put answers through base and tuned model, and keep how each token moved in the run's ``token_diff.json``.

    Args:
        run: an evaluated run; its ``results.json`` has the prompts and answers, unless ``results`` are given.
        of: whose answers: ``tuned``, ``base``, another arm of the evaluation, or ``truth``.
        limit: at most so many, the first of each language; None: all.
        loaded: base and adapter, if they are in memory already.
        alongside: load the model even while a run owns the device.

    Raises:
        BadInput: nothing was evaluated, nobody of that name answered; DeviceBusy: a run owns the device.
    """
    run = Run.attach(run)
    held = results or rescore.read_results(run)
    if of not in (TRUTH, *held["arms"]):
        raise BadInput(f"Nobody called {of!r} has answered; there are {', '.join([*held['arms'], TRUTH])}.")
    chosen = _chosen(held, of, limit)
    loaded = loaded or load(run.recipe.model, adapter=run.adapter, dtype=run.dtype, alongside=alongside)
    rows = []
    for number, row in enumerate(chosen, 1):
        asked = row["row"]
        rows.append(
            measure_answer(loaded, row["id"], row["prompt"], test_set.question(asked), _answer_of(row, of), asked.get("tools"))
        )
        if progress:
            progress(number, len(chosen))
    said = [f"At most {limit} answers of each language were measured."] * (len(chosen) < len(held["rows"]))
    made: TokenDiffs = {
        "version": VERSION, "model": loaded.name, "adapter": adapter_hash(run.adapter), "of": of, "limit": limit,
        "answers": _answers_hash(held, of), "rows": sorted(rows, key=lambda row: (-row["move"], row["id"])),
        "said": [*said, *_too_long(rows, systems.context_length(loaded))],
    }  # fmt: skip
    if save:
        storage.write_json(run.folder / TOKEN_DIFF, made)
    return made


def _too_long(rows: Sequence[TokenDiffRow], most: int) -> list[str]:
    long = sum(len(row["moves"]["ids"]) > most for row in rows)
    return [f"{long} answers are longer than the {most} tokens that the model was made for."] * bool(long)


def _chosen(held: Results, of: str, limit: int | None) -> list[Answered]:
    """Rows with an answer, at most so many of each language."""
    taken: Counter[str] = Counter()
    made = []
    for row in held["rows"]:
        taken[row["lang"]] += bool(_answer_of(row, of))
        if _answer_of(row, of) and (limit is None or taken[row["lang"]] <= limit):
            made.append(row)
    return made


def measure_answer(
    loaded: Loaded, name: str, prompt: str, talk: Sequence[Message], answer: str, tools: list | None = None
) -> TokenDiffRow:
    """One answer through base and tuned model; its end of turn counts as a token of it."""
    seen = render([*talk, {"role": "assistant", "content": answer}], loaded.tokenizer, "last", tools=tools)
    first = seen.trained.index(True)
    last = len(seen) - seen.trained[::-1].index(True)
    sides = token_divergence.Sides(loaded.model, loaded.as_base, lambda: loaded.as_base(False))
    moves = token_divergence.moves(sides, loaded.tokenizer, seen.ids[:first], seen.ids[first:last])
    changes = token_divergence.changes(moves)
    at = max(range(len(changes)), key=lambda place: abs(changes[place]))
    return {
        "id": name, "prompt": prompt, "answer": answer, "move": abs(changes[at]), "at": at, "total": sum(changes),
        "kl": sum(moves["kl"]) / len(changes), "moves": moves,
    }  # fmt: skip

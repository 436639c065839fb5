"""Which columns of a row are a question and its answer, by the names that people use; a guess to offer, not to read."""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from etabli.core.errors import BadData

_PROMPTS = (
    *("prompt", "instruction", "question", "query", "input", "text_input", "input_text", "user", "text", "sentence"),
    *("document", "article", "dialogue", "source", "content", "context", "body", "message", "title"),
)
_ANSWERS = (
    *("completion", "response", "output", "answer", "reply", "output_text", "summary", "highlights", "translation"),
    *("target", "targets", "label", "labels", "answers", "category", "intent", "sentiment", "class", "annotation"),
)
# Columns that make a row with ``text`` a task, and not plain text.
TASK_COLUMNS = frozenset({*_ANSWERS, "question", "query", "input", "instruction"})


def command(rows: Iterable[object]) -> str | None:
    """Return the options that read such rows; None if no two columns look like a question and its answer, as texts."""
    items = [row for row in rows if isinstance(row, Mapping)]
    by_name = {
        str(name).casefold(): str(name)
        for row in items
        for name, value in row.items()
        if isinstance(as_answer(value), str)
    }
    answer = next((by_name[name] for name in _ANSWERS if name in by_name), None)
    prompt = next((by_name[name] for name in _PROMPTS if name in by_name and by_name[name] != answer), None)
    if answer is None or prompt is None:
        return None
    return f"--column {_quoted('prompt', prompt)} --column {_quoted('completion', answer)}"


def require_names(columns: Mapping[str, str], known_names: Collection[str], source: str) -> None:
    """Check that each name that a person gave a column is one that is read.

    Raises:
        BadData: names the first that is not, with the similar one or all of them.
    """
    for ours, theirs in columns.items():
        if ours not in known_names:
            similar = difflib.get_close_matches(ours, known_names, 1)
            hint = f"did you mean {similar[0]}?" if similar else f"choose from {', '.join(sorted(known_names))}."
            raise BadData(
                f"{source}: nothing reads a column {ours!r}, so {theirs!r} would be left out: {hint} "
                "(--column OURS=THEIRS: the format's name, then the file's)"
            )


def _quoted(ours: str, theirs: str) -> str:
    pair = f"{ours}={theirs}"
    return pair if re.fullmatch(r"[\w.=-]+", pair) else f"'{pair}'"


def task_columns(item: Mapping[str, object]) -> list[str]:
    """Return the columns of a row with ``text`` that make it a task."""
    return [str(name) for name, value in item.items() if str(name).casefold() in TASK_COLUMNS and value is not None]


def refusal(code: str, items: Sequence[object]) -> str:
    """Return what is said of rows of a refused format, with the command that reads them; empty if there is none."""
    rows = [item for item in items if isinstance(item, Mapping)]
    options = command(rows)
    if code == "task-columns":
        columns = ", ".join(dict.fromkeys(name for item in rows for name in task_columns(item)))
        how = f"Read question and answer with {options}" if options else "None of them is an answer as text: write one"
        return (
            f"Beside text there are {columns}: a task, not plain text. {how}, or the text alone with --format text "
            "(etabli data read FILE … --out datasets/NAME writes rows to train)."
        )
    if code == "prompt-only" and options:
        return f"Prompts without the column completion. If a column has the answers: {options}."
    return ""


def as_answer(value: object) -> object:
    """Return a column that a person named as a text: a number written out, the only text of a list; else the value."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return value[0]
    is_number = isinstance(value, int | float) and value == value and abs(value) != float("inf")
    return str(value) if is_number else value

"""Columns that no format reads and that may hold what a row is about: named with a command that keeps them.

Beside a text it is any column that is no known fact about the text; beside a question it is a context, choices, ….
"""

import re
from collections.abc import Collection, Mapping, Sequence

from etabli.data.notes import Note, escape_invisible, excerpt
from etabli.data.reading.columns import CONTEXTS, fold_name, quote_option
from etabli.data.reading.layout import Item, Layout
from etabli.data.reading.split_columns import is_flag

_CONTENT = {
    *CONTEXTS,
    *("choices", "options", "answerchoices", "optionen", "choix", "opciones", "tables"),
    *("history", "chathistory", "conversationhistory", "dialoguehistory", "preamble", "persona"),
}
# Facts about a text, as ``fold_name`` writes them.
_FACTS = {
    *("source", "src", "lang", "language", "langue", "sprache", "idioma", "licence", "license", "terms", "split"),
    *("title", "titre", "titel", "titulo", "author", "authors", "auteur", "autor", "publisher", "domain", "subset"),
    *("date", "time", "timestamp", "created", "updated", "modified", "added", "year", "month", "day", "crawled"),
    *("meta", "metadata", "info", "dump", "warc", "version", "generator", "template", "copygroup", "parents"),
    *("page", "pages", "chunk", "line", "lines", "row", "index", "idx", "shard", "section", "chapter", "position"),
    *("filename", "file", "path", "url", "uri", "link", "domain", "repo", "repository", "doi", "isbn", "corpus"),
    *("length", "len", "size", "tokens", "words", "chars", "characters", "bytes", "perplexity", "encoding", "format"),
    *("status", "state", "annotator", "leadtime", "dataset", "datasetname", "collection", "score", "similarity"),
}
_FACT_ENDING = re.compile(
    r"(^|[_\-. ])(id|ids|uuid|hash|md5|sha\d*|key|no|nr|number|count|n|num|date|time|timestamp|at|url|uri|path|file|"
    r"name|version|length|len|size|score|prob|index|idx|tokens|language|lang|offset|start|end|meta|metadata)$|[a-z]I[dD]$"
)


def find_measures(items: Sequence[object]) -> frozenset[str]:
    """Return the columns of numbers of which most differ: measures of a text, and no labels."""
    values: dict[str, set[float]] = {}
    for item in items:
        for name, value in item.items() if isinstance(item, Mapping) else ():
            number = _as_number(value)
            if number is not None:
                values.setdefault(str(name), set()).add(number)
    return frozenset(name for name, numbers in values.items() if len(numbers) > max(5, len(items) / 2))


def _as_number(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except ValueError:
        return None


def note_side_columns(item: Item, names: Collection[str], layout: Layout) -> list[Note]:
    """Return a note if some of a row's unread columns may hold what the row is about.

    Args:
        item: the row.
        names: its columns that nothing reads.
        layout: how it is read.
    """
    filled = [name for name in sorted({*names} - {*layout.columns.values()}) if _is_filled(item.get(name))]
    if layout.is_guessed:
        labels = [name for name in filled if not _is_fact(name, layout.measures)]
        return [_note_labels(item, labels)] if labels else []
    contents = [name for name in filled if fold_name(name) in _CONTENT or "system" in fold_name(name)]
    return [_note_contents(item, contents, layout)] if contents and "text" not in layout.name else []


def _is_filled(value: object) -> bool:
    return value is not None and value == value and value not in ("", [], {})


def _is_fact(name: str, measures: Collection[str]) -> bool:
    return (
        name.startswith("_")
        or name in measures
        or fold_name(name) in _FACTS
        or bool(_FACT_ENDING.search(name))
        or bool(_FACT_ENDING.search(name.casefold()))
        or is_flag(name)
    )


def _note_labels(item: Item, names: Sequence[str]) -> Note:
    shown_names = escape_invisible(", ".join(names)[:200])
    why = (
        f"Beside text there are {shown_names}, which are not trained. To train them as answers: "
        f"{quote_option('prompt', 'text')} {quote_option('completion', names[0])}. If the text alone is meant: "
        "--format text"
    )
    return Note("side-columns", names[0], excerpt(item[names[0]]), why)


def _note_contents(item: Item, names: Sequence[str], layout: Layout) -> Note:
    why = f"{escape_invisible(', '.join(names)[:200])}: not used, though it may belong to the question. {{}}"
    advice = _advise(item, names[0], layout)
    return Note("unused-content", names[0], excerpt(item[names[0]]), why.format(advice))


def _advise(item: Item, name: str, layout: Layout) -> str:
    """Return the command that keeps a column."""
    theirs = {ours: layout.columns.get(ours, ours) for ours in ("prompt", "completion")}
    if not isinstance(item[name], str):
        return "Write it into the question."
    if layout.name == "prompt-completion" and fold_name(name) in CONTEXTS:
        pairs = (("instruction", theirs["prompt"]), ("input", name), ("output", theirs["completion"]))
        return f"To keep it: {' '.join(quote_option(*pair) for pair in pairs)}"
    return f"To keep it as the system's turn: {quote_option('system', name)}"

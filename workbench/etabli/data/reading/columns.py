"""Which columns of a row are a question and its answer, by the names that people use; a guess to offer, not to read."""

import difflib
import re
import shlex
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache

from etabli.core.errors import BadData
from etabli.data.notes import escape_invisible


class Exported(dict[str, object]):
    """A row of an annotation tool: its columns, and which of them are the questions and the answers of its people."""

    def __init__(self, columns: Mapping[str, object], prompts: Sequence[str], answers: Sequence[str]) -> None:
        super().__init__(columns)
        self.prompts, self.answers = tuple(prompts), tuple(answers)


@lru_cache(maxsize=4096)
def fold_name(name: str) -> str:
    """Return a column's name in small letters, without accents and without what is no letter: ``reponse``."""
    letters = unicodedata.normalize("NFKD", name).casefold()
    return "".join(char for char in letters if char.isalpha())


# English, French, German, Spanish: as ``fold_name`` writes them.
_PROMPTS = (
    *("prompt", "instruction", "question", "query", "input", "textinput", "inputtext", "user", "text", "sentence"),
    *("document", "article", "dialogue", "source", "content", "context", "body", "message", "title"),
    *("consigne", "entree", "requete", "texte", "phrase", "anweisung", "frage", "eingabe", "satz", "nachricht"),
    *("instruccion", "pregunta", "entrada", "consulta", "texto", "frase", "mensaje", "key"),
)
_ANSWERS = (
    *("completion", "response", "output", "answer", "reply", "outputtext", "summary", "highlights", "translation"),
    *("target", "targets", "label", "labels", "answers", "category", "intent", "sentiment", "class", "annotation"),
    *("reponse", "sortie", "resume", "traduction", "cible", "etiquette", "categorie", "classe", "intention"),
    *("antwort", "ausgabe", "zusammenfassung", "ubersetzung", "ziel", "etikett", "kategorie", "klasse", "absicht"),
    *("respuesta", "salida", "resumen", "traduccion", "objetivo", "etiqueta", "categoria", "clase", "intencion"),
    "value",
)
NO_COLUMN = "none"  # instead of a column of splits or of states: no column is one
# What a question is about, where it stands in a column of its own: as ``fold_name`` writes it.
CONTEXTS = (
    *("context", "contexts", "passage", "passages", "story", "document", "documents", "article", "background"),
    *("knowledge", "evidence", "schema", "premise", "kontext", "contexte", "contexto", "facts", "paragraph"),
)
ANSWER_NAMES = frozenset(_ANSWERS) - {"value"}
# Columns that make a row with ``text`` a task, and not plain text.
TASK_COLUMNS = ANSWER_NAMES | {
    *("question", "query", "input", "instruction", "consigne", "requete", "anweisung", "frage", "eingabe"),
    *("instruccion", "pregunta", "consulta"),
}


def command(rows: Iterable[object]) -> str | None:
    """Return the options that read such rows; None if no two columns look like a question and its answer, as texts."""
    items = [row for row in rows if isinstance(row, Mapping)]
    texts = {str(name): fold_name(str(name)) for row in items for name, value in row.items() if _is_text(value)}
    exported = [row for row in items if isinstance(row, Exported)]
    answer = _first_of(texts, _ANSWERS, [name for row in exported for name in row.answers])
    texts.pop(str(answer), None)
    prompt = _first_of(texts, _PROMPTS, [name for row in exported for name in row.prompts])
    if answer is None or prompt is None:
        return None
    texts.pop(prompt)
    context = _first_of(texts, CONTEXTS, ())
    columns = {"prompt": prompt, "completion": answer}
    if context is not None:
        columns = {"instruction": prompt, "input": context, "output": answer}
    return " ".join(quote_option(ours, theirs) for ours, theirs in columns.items())


def name_left_out(rows: Iterable[object], options: str) -> str:
    """Return a sentence with the columns that a command does not name; empty if it names all."""
    items = [row for row in rows if isinstance(row, Mapping)]
    words = {word.partition("=")[2] for word in shlex.split(options)}
    rest = [str(name) for item in items for name, value in item.items() if str(name) not in words and value is not None]
    names = ", ".join(name for name in dict.fromkeys(rest) if name != "id")
    return f" It does not train {escape_invisible(names[:200])}." if names else ""


def _is_text(value: object) -> bool:
    return isinstance(as_answer(value), str)


def _first_of(texts: Mapping[str, str], folded_names: Sequence[str], first: Sequence[str]) -> str | None:
    """Return the first name of ``first`` that is a column of texts, else the first column with one of some names."""
    by_name = {folded: name for name, folded in texts.items()}
    named = (by_name[folded] for folded in folded_names if folded in by_name)
    return next((name for name in first if name in texts), None) or next(named, None)


def require_names(columns: Mapping[str, str], known_names: Collection[str], source: str) -> None:
    """Check that each name that a person gave a column is one that is read.

    Raises:
        BadData: names the first that is not, with the similar one or all of them.
    """
    for ours, theirs in columns.items():
        if ours not in known_names:
            similar = difflib.get_close_matches(ours, known_names, 1)
            hint = (
                f"did you mean {similar[0]}?"
                if similar
                else f"the nearest are {', '.join(difflib.get_close_matches(ours, known_names, 10, 0))}."
            )
            raise BadData(
                f"{source}: nothing reads a column {ours!r}, so {theirs!r} would be left out: {hint} "
                "(--column OURS=THEIRS: the format's name, then the file's)"
            )


def quote_option(ours: str, theirs: str) -> str:
    """Return the option that names a column, as a shell reads it."""
    pair = f"{ours}={theirs}"
    return f"--column {pair}" if re.fullmatch(r"[\w.=-]+", pair) else f"--column {shlex.quote(pair)}"


def task_columns(item: Mapping[str, object]) -> list[str]:
    """Return the columns of a row with ``text`` that make it a task."""
    answers = item.answers if isinstance(item, Exported) else ()
    names = {str(name): fold_name(str(name)) for name, value in item.items() if value is not None}
    return [name for name, folded in names.items() if name in answers or folded in TASK_COLUMNS]


def refusal(code: str, items: Sequence[object]) -> str:
    """Return what is said of rows of a refused format, with the command that reads them; empty if there is none."""
    rows = [item for item in items if isinstance(item, Mapping)]
    options = command(rows)
    left_out = name_left_out(rows, options) if options else ""
    if code == "task-columns":
        columns = ", ".join(dict.fromkeys(name for item in rows for name in task_columns(item)))
        how = f"Read question and answer with {options}" if options else "None of them is an answer as text: write one"
        return (
            f"Beside text there are {columns}: a task, not plain text. {how}, or the text alone with --format text."
            f"{left_out} (etabli data read FILE … --out datasets/NAME writes rows to train)."
        )
    if code == "prompt-only" and options:
        return f"Prompts without the column completion. If a column has the answers: {options}.{left_out}"
    return ""


def as_answer(value: object) -> object:
    """Return a column that a person named as a text: a number written out, the texts of a list; else the value."""
    if isinstance(value, list) and value and all(isinstance(text, str) for text in value):
        return ", ".join(value)
    is_number = isinstance(value, int | float) and value == value and abs(value) != float("inf")
    return str(value) if is_number else value

"""Names that a mapping file gives and that the rows do not have: often misspelt ones."""

from collections.abc import Iterator, Mapping, Sequence

from etabli.data.notes import Note, escape_invisible
from etabli.data.reading.layout import Layout
from etabli.data.reading.paths import has_value
from etabli.data.reading.values import parse_list


def note_missing_names(layout: Layout, items: Sequence[object]) -> list[Note]:
    """Return a note about columns and keys of turns that a mapping file names and none of the first rows has."""
    rows = [item for item in items if isinstance(item, Mapping)]
    columns = [theirs for theirs in layout.columns.values() if not any(has_value(row, theirs) for row in rows)]
    turns = list(_turns(layout, rows))
    turn_names = (*layout.tags.marks, *layout.tags.reasoning) if layout.tags else ()
    keys = [name for name in turn_names if turns and not any(name in turn for turn in turns)]
    names = escape_invisible(", ".join(columns + keys)[:200])
    where = "none of the first rows has" if columns else "no turn of the first rows has"
    why = f"The mapping names {names}, which {where}: nothing is read for it. Correct the name, or remove it."
    return [Note("missing-names", why=why)] if rows and names else []


def _turns(layout: Layout, rows: Sequence[Mapping[str, object]]) -> Iterator[Mapping[str, object]]:
    """Yield the turns of rows of conversations."""
    for row in rows:
        for name in ("messages", "conversations"):
            turns = parse_list(row.get(layout.columns.get(name, name)))
            yield from (turn for turn in turns if isinstance(turn, Mapping)) if isinstance(turns, list) else ()

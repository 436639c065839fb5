"""Values of cells: lists that a table holds as text, and the note for a value of another type than wanted."""

from etabli.core import parsing
from etabli.data.notes import Note, excerpt


def parse_list(value: object) -> object:
    """Return a list that a table may hold as JSON text or as an array; other values as they are."""
    if isinstance(value, str) and value.lstrip()[:1] in "[{":
        try:
            return parsing.parse_json(value, lenient=True)
        except parsing.ParseError:
            return value
    return value.tolist() if hasattr(value, "tolist") else value


def wrong_type_note(where: str, value: object, wanted: str) -> Note:
    """Return the note for a value of another type than the format has."""
    name = where.rsplit(".", 1)[-1]
    return Note("wrong-type", where, excerpt(value), f"{name} is {type(value).__name__}, not {wanted}.")

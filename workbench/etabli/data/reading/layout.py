"""How the rows of a source are read: the format, its columns, and why it was chosen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from etabli.core.contracts import Message
from etabli.data.notes import Note
from etabli.data.reading.turns import Tags

Item = Mapping[str, object]


@dataclass(frozen=True)
class Layout:
    """How the rows of a source are read: the format, why it was chosen, and its column names.

    ``columns`` maps the format's name of a column to the file's; ``split_columns`` are the paths of columns that hold
    splits (True) or not (False), as the first rows tell. ``is_guessed`` is of plain text that nobody named as such;
    ``padded_keys`` are the keys of objects that Arrow padded with nulls, by their place;
    ``measures`` are columns of numbers of which most differ.
    """

    name: str
    reason: str = "named by you"
    columns: Mapping[str, str] = field(default_factory=dict)
    tags: Tags | None = None
    split_columns: Mapping[str, bool] = field(default_factory=dict)
    is_guessed: bool = False
    padded_keys: Mapping[str, frozenset[str]] = field(default_factory=dict)
    measures: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Format:
    """A format: the keys that identify it, its optional keys, and the function that makes messages of a row."""

    keys: tuple[str, ...]
    read: Callable[[Item, list[Note], Layout], list[Message]]
    optional: tuple[str, ...] = ()
    refused: str = ""  # the code of the reason why such rows are not read
    told_by: str = ""  # what identifies the format if it is not the keys

"""The names of classes that a table of the package ``datasets`` stores as numbers: its schema holds them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from etabli.core import parsing

if TYPE_CHECKING:
    from pyarrow import Schema

Names = Mapping[str, Sequence[str]]  # of a column's classes


def read_class_names(schema: "Schema") -> Names:
    """Return the names of classes of each column that has them; none where the schema holds none."""
    text = (schema.metadata or {}).get(b"huggingface")
    try:
        facts = parsing.parse_json(text.decode(), lenient=True) if text else None
    except (parsing.ParseError, UnicodeDecodeError):
        return {}
    info = facts.get("info") if isinstance(facts, Mapping) else None
    features = info.get("features") if isinstance(info, Mapping) else None
    columns = features.items() if isinstance(features, Mapping) else ()
    return {str(name): names for name, feature in columns if (names := _class_names(feature))}


def _class_names(feature: object) -> list[str]:
    """Return the names of a ``ClassLabel``, also of one in a list."""
    if not isinstance(feature, Mapping):
        return []
    if feature.get("_type") != "ClassLabel":
        return _class_names(feature.get("feature"))
    names = feature.get("names")
    return [str(name) for name in names] if isinstance(names, list) else []


def name_classes(row: dict[str, object], names: Names) -> dict[str, object]:
    """Return a row with the names of its classes instead of their numbers; a number without a name stays."""
    return {column: _name(value, names[column]) if column in names else value for column, value in row.items()}


def _name(value: object, names: Sequence[str]) -> object:
    if isinstance(value, list):
        return [_name(inner, names) for inner in value]
    is_class = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names)
    return names[value] if is_class and isinstance(value, int) else value

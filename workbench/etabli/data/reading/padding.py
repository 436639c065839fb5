"""Nulls that Arrow padded into objects and that were then written as JSON: left out, since they are no content.

Arrow gives all objects of one place the same keys. Where every object of the first rows has the keys of all others of
its place, and some are null also outside of arguments, the nulls are padding; a null that a person wrote is none.
"""

from collections.abc import Iterator, Mapping, Sequence

from etabli.data.notes import Note

_ARGUMENTS = "arguments"
_TEXT_KEYS = {"role", "content", "from", "value", "text"}  # a null there is a mistake, and no padding
_CONTENT = (_ARGUMENTS, "parameters")  # where a null would be read as content


def find_padded_keys(items: Sequence[object]) -> dict[str, frozenset[str]]:
    """Return the keys of the objects at each place in the first rows; nothing if they are not padded."""
    keys_of: dict[str, frozenset[str]] = {}
    has_padding = False
    for item in items:
        for place, value in _objects(item, ""):
            keys = frozenset(value)
            if keys_of.setdefault(place, keys) != keys:
                return {}
            is_outside = _ARGUMENTS not in place
            has_padding = has_padding or (is_outside and any(value[name] is None for name in keys - _TEXT_KEYS))
    return keys_of if has_padding else {}


def _objects(value: object, place: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield every object within a row, but for the row itself, with its place: ``.messages.tool_calls``."""
    if isinstance(value, Mapping):
        if place:
            yield place, value
        for name, inner in value.items():
            yield from _objects(inner, f"{place}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from _objects(inner, place)


def remove_padding(item: Mapping[str, object], padded_keys: Mapping[str, frozenset[str]], notes: list[Note]) -> object:
    """Return a row without the nulls of padded arguments and schemas, and note that some were left out."""
    places: set[str] = set()
    rest = {name: _without_nulls(value, f".{name}", padded_keys, places) for name, value in item.items()}
    if places:
        notes.append(Note("padding", ", ".join(sorted(place.strip(".") for place in places))[:80]))
    return rest


def _without_nulls(value: object, place: str, padded_keys: Mapping[str, frozenset[str]], places: set[str]) -> object:
    if isinstance(value, list):
        return [_without_nulls(inner, place, padded_keys, places) for inner in value]
    if not isinstance(value, Mapping):
        return value
    has_nulls = None in value.values() and any(name in place for name in _CONTENT)
    is_padded = has_nulls and padded_keys.get(place) == frozenset(value)
    places.update([place] if is_padded else [])
    return {
        name: _without_nulls(inner, f"{place}.{name}", padded_keys, places)
        for name, inner in value.items()
        if inner is not None or not is_padded
    }

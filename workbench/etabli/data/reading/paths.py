"""The values of a row by their paths: a column, or a key of an object in it, as in ``metadata.split``."""

from collections.abc import Collection, Iterator, Mapping

from etabli.data.reading.values import parse_list

DEEPEST = 3  # objects within objects: further down there are texts and turns, and no facts about the row


def list_leaves(
    item: Mapping[str, object], without: Collection[str] = (), prefix: str = "", depth: int = 1
) -> Iterator[tuple[str, str | bool | int | float]]:
    """Yield the path and the value of each text, number and flag of a row that stands in no list.

    Args:
        without: columns to leave out.
        prefix, depth: where ``item`` stands in its row.
    """
    for name, value in item.items():
        if name in without:
            continue
        inner = parse_list(value) if isinstance(value, str) and value[:1] == "{" else value
        if isinstance(inner, Mapping) and depth < DEEPEST:
            yield from list_leaves(inner, (), f"{prefix}{name}.", depth + 1)
        elif isinstance(value, str | bool | int | float):
            yield f"{prefix}{name}", value


def find_value(item: Mapping[str, object], path: str) -> object:
    """Return a row's column, or what stands under a path of keys with points between them; None without it."""
    if path in item:
        return item[path]
    name, point, rest = path.partition(".")
    inner = parse_list(item.get(name))
    return find_value(inner, rest) if point and isinstance(inner, Mapping) else None


def has_value(item: Mapping[str, object], path: str) -> bool:
    """Return whether a row has such a column or path, also one whose value is null."""
    return path in item or find_value(item, path) is not None

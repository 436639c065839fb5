"""Parse JSON and YAML of strangers within limits of size, depth and number.

The package reads JSON only with ``read_json`` and ``parse_json``, and YAML only with ``read_yaml`` and ``parse_yaml``.
A bad text raises ``ParseError`` and nothing else: it can't cause endless recursion, fill the memory, or take minutes.
"""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etabli.core.errors import Damaged
from etabli.core.folders import open_file

if TYPE_CHECKING:
    from yaml import SafeLoader, ScalarEvent

DEEPEST = 100  # levels of lists and mappings; a conversation has five
LARGEST_JSON = 256 * 2**20  # bytes; the results of a hundred thousand rows have less
LARGEST_CONFIG = 16 * 2**20  # bytes of a configuration, a manifest, an index of weights
LARGEST_YAML = 2**20
MOST_VALUES = 10_000_000  # commas and brackets in JSON
MOST_NODES = 20_000  # values in YAML, each alias counted as all that it stands for; they take two seconds
_LONGEST_NUMBER = 100  # characters
MOST_SHOWN = 200  # characters of a value in an error


class ParseError(Damaged, ValueError):
    """A text is not valid JSON or YAML, or it is too large or too deep."""


def short_repr(value: object, limit: int = MOST_SHOWN) -> str:
    """Return the ``repr`` of a value, cut to about ``limit`` characters. A large value is never written out whole."""
    parts, length = [], 0
    for part in _repr_parts(value, limit):
        parts.append(part)
        length += len(part)
        if length > limit:
            return "".join(parts)[:limit] + "…"
    return "".join(parts)


def _repr_parts(value: Any, limit: int) -> Iterator[str]:
    """Yield the ``repr`` of a value in parts, each made only when it is needed."""
    if type(value) in (list, tuple):
        brackets = "[]" if type(value) is list else "()"
        yield brackets[0]
        for number, item in enumerate(value):
            yield from [", "] * bool(number)
            yield from _repr_parts(item, limit)
        yield ",)" if brackets == "()" and len(value) == 1 else brackets[1]
    elif type(value) is dict:
        yield "{"
        for number, (key, item) in enumerate(value.items()):
            yield from [", "] * bool(number)
            yield from _repr_parts(key, limit)
            yield ": "
            yield from _repr_parts(item, limit)
        yield "}"
    elif isinstance(value, str | bytes) and len(value) > limit:
        yield repr(value[: limit + 1])[: limit + 1]
    elif type(value) is int and value.bit_length() > 4 * limit:
        yield f"a whole number of {value.bit_length():,} bits"
    else:
        yield repr(value)


# --- JSON ------------------------------------------------------------------------------------------------------------


def read_json(path: str | Path, limit: int = LARGEST_JSON, lenient: bool = False) -> Any:
    """Return the value of a JSON file. A byte order mark is ignored.

    Args:
        path: the file; limit: the largest size, in bytes.
        lenient: for files of models, as other libraries read them: NaN and infinities are numbers, and a later key
            replaces an equal earlier one.

    Raises:
        OSError: it can't be opened; ParseError: it is not JSON, or is too large or too deep.
    """
    return parse_json(read_bytes(path, limit), str(path), limit, lenient)


def read_text(path: str | Path, limit: int = LARGEST_CONFIG) -> str:
    """Return the text of a file of at most ``limit`` bytes.

    Raises:
        OSError: it can't be opened; ParseError: it is too large, or not UTF-8.
    """
    try:
        return read_bytes(path, limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ParseError(f"{path} is not UTF-8: {error.reason} at byte {error.start}.") from None


def read_bytes(path: str | Path, limit: int) -> bytes:
    """A file's bytes, and never more than may be parsed: a file may be longer than it says.

    Raises:
        OSError: it can't be opened; ParseError: it is too large.
    """
    with open_file(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ParseError(_too_long(str(path), limit))
    return data


def parse_json(text: str | bytes, source: str = "It", limit: int = LARGEST_JSON, lenient: bool = False) -> Any:
    """Return the value of a JSON text, as ``read_json`` does. ``source`` names the text in errors."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > limit:
        raise ParseError(_too_long(source, limit))
    if sum(map(data.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise ParseError(
            f"{source} has more than {MOST_VALUES:,} values, which no such file has: look at what wrote it."
        )
    try:
        value = (_LENIENT if lenient else _STRICT).decode(data.decode("utf-8-sig", "surrogatepass"))
    except RecursionError:
        raise ParseError(_too_deep(source)) from None
    except UnicodeDecodeError:
        raise ParseError(f"{source} is not JSON: its bytes are not UTF-8. Make the file again.") from None
    except ValueError as error:
        raise ParseError(f"{source} is not JSON: {_one_line(error)}. Make the file again.") from None
    if depth(value, data) > DEEPEST:
        raise ParseError(_too_deep(source))
    return value


def depth(value: object, data: bytes | None = None) -> int:
    """Return how deep lists and mappings are nested, or 0 where ``data``, the value's JSON, has too few brackets."""
    if data is not None and data.count(b"[") + data.count(b"{") <= DEEPEST:
        return 0
    levels, level = 0, [value]
    while level:
        levels += 1
        level = [
            inner
            for container in level
            if isinstance(container, dict | list)
            for inner in (container.values() if isinstance(container, dict) else container)
            if isinstance(inner, dict | list)
        ]
    return levels


def _too_long(source: str, limit: int) -> str:
    return f"{source} has more than {limit / 2**20:.0f} MB, which no such file has: look at what wrote it."


def _too_deep(source: str) -> str:
    return f"{source} is nested more than {DEEPEST} levels deep, which no such file is: look at what wrote it."


def _one_line(error: Exception) -> str:
    text = " ".join(str(error)[:1000].split())
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…"


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        duplicate = next(name for name in counts if counts[name] > 1)
        raise ValueError(f"the key {short_repr(duplicate)} stands twice in one object")
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _parse_finite_float(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise ValueError(f"the number {text[:40]} is too large")
    return number


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_parse_finite_float)
_LENIENT = json.JSONDecoder()


# --- YAML ------------------------------------------------------------------------------------------------------------


def read_yaml(path: str | Path, limit: int = LARGEST_YAML, tagged_values: list[str] | None = None) -> Any:
    """Return the value of a YAML file; see ``parse_yaml``.

    Raises:
        OSError: it can't be opened; ParseError: it is not YAML, or is too large or too deep.
    """
    return parse_yaml(read_bytes(path, limit), str(path), limit, tagged_values)


def parse_yaml(
    text: str | bytes, source: str = "It", limit: int = LARGEST_YAML, tagged_values: list[str] | None = None
) -> Any:
    """The value of a YAML text, after its size was counted with every alias written out.

    Args:
        text: one document; source: what it is called in errors; most: bytes it may have.
        tagged: where given, a value of an unknown tag is None, instead of an error, and its text is added here.

    Raises:
        ParseError: it is not YAML, or is too large or too deep; its text names the cause.
    """
    if len(text) > limit:
        raise ParseError(_too_long(source, limit))
    try:
        content = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        _require_small(content, source)
        return _loader(tagged_values)(content).get_single_data()
    except ParseError:
        raise
    except RecursionError:
        raise ParseError(_too_deep(source)) from None
    except Exception as error:  # PyYAML raises IndexError, ValueError and others on odd scalars
        raise ParseError(f"{source} can't be read as YAML: {_one_line(error)}") from None


def _loader(tagged_values: list[str] | None) -> "type[SafeLoader]":
    import yaml

    if tagged_values is None:
        return yaml.SafeLoader

    class Lenient(yaml.SafeLoader):
        """YAML with tags of another program: read, and not obeyed."""

    Lenient.add_multi_constructor("!", lambda loader, suffix, node: tagged_values.append(str(node.value)))
    return Lenient


def _require_small(text: str, source: str) -> None:
    """Count the values as if aliases were written out, from YAML's events, before any value is made."""
    import yaml

    loader = yaml.SafeLoader(text)
    sizes: dict[str, int] = {}  # values that an anchor stands for
    open_nodes: list[tuple[str | None, int]] = []  # anchor, and the count before it
    count = 0
    while loader.check_event():
        event = loader.get_event()  # type: ignore[no-untyped-call]  # PyYAML's stubs lack it
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, count))
            count += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, count_before = open_nodes.pop()
            sizes |= {anchor: count - count_before} if anchor else {}
        elif isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_nodes):
                raise ParseError(
                    f"{source}: the alias *{short_repr(event.anchor, 40)[1:-1]} stands within what it names."
                )
            count += sizes.get(str(event.anchor), 1)
        elif isinstance(event, yaml.ScalarEvent):
            _require_short_number(loader, event, source)
            sizes |= {event.anchor: 1} if event.anchor else {}
            count += 1
        if len(open_nodes) > DEEPEST:
            raise ParseError(_too_deep(source))
        if count > MOST_NODES:
            raise ParseError(
                f"{source} has more than {MOST_NODES:,} values once its aliases are written out: write less into it, "
                "and each value where it belongs."
            )


def _require_short_number(loader: "SafeLoader", event: "ScalarEvent", source: str) -> None:
    """Refuse long numbers: parsing a whole number of a million digits in base 60 takes minutes."""
    import yaml

    if len(event.value) <= _LONGEST_NUMBER:
        return
    tag = event.tag or loader.resolve(yaml.ScalarNode, event.value, event.implicit)  # type: ignore[no-untyped-call]
    if str(tag).endswith((":int", ":float")):
        beginning = "".join(islice(event.value, 40))
        raise ParseError(f"{source}: {beginning}… is a number of {len(event.value):,} characters: put it in quotes.")

"""JSON and YAML of others: parsed within limits of size, depth and number, or refused in one sentence.

``read_json`` and ``parse_json`` are what the package reads JSON with; ``parse_yaml`` is what it reads YAML with. They
raise ``Unparsed`` and nothing else of a text's own: no recursion, no memory that fills, no number that takes minutes.
"""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from etabli.core.errors import Damaged
from etabli.core.folders import open_file

DEEPEST = 100  # levels of lists and mappings; a conversation has five
LARGEST_JSON = 256 * 2**20  # bytes; the results of a hundred thousand rows have less
LARGEST_CONFIG = 16 * 2**20  # bytes of a configuration, a manifest, an index of weights
LARGEST_YAML = 2**20
MOST_VALUES = 10_000_000  # commas and brackets in JSON
MOST_NODES = 20_000  # values in YAML, each alias counted as all that it stands for; they take two seconds
_LONGEST_NUMBER = 100  # characters
MOST_SHOWN = 200  # characters of a value in an error


class ParseError(Damaged, ValueError):
    """A text that is not the JSON or YAML it should be, or that is too large or too deep to be read."""


def short_repr(value: Any, most: int = MOST_SHOWN) -> str:
    """``repr`` of a value, in at most about ``most`` characters: no more of it than that is ever written out."""
    parts, length = [], 0
    for part in _repr_parts(value, most):
        parts.append(part)
        length += len(part)
        if length > most:
            return "".join(parts)[:most] + "…"
    return "".join(parts)


def _repr_parts(value: Any, most: int) -> Iterator[str]:
    """A value's ``repr`` in pieces, made only as they are asked for."""
    if type(value) in (list, tuple):
        brackets = "[]" if type(value) is list else "()"
        yield brackets[0]
        for number, item in enumerate(value):
            yield from [", "] * bool(number)
            yield from _repr_parts(item, most)
        yield ",)" if brackets == "()" and len(value) == 1 else brackets[1]
    elif type(value) is dict:
        yield "{"
        for number, (key, item) in enumerate(value.items()):
            yield from [", "] * bool(number)
            yield from _repr_parts(key, most)
            yield ": "
            yield from _repr_parts(item, most)
        yield "}"
    elif isinstance(value, str | bytes) and len(value) > most:
        yield repr(value[: most + 1])[: most + 1]
    elif type(value) is int and value.bit_length() > 4 * most:
        yield f"a whole number of {value.bit_length():,} bits"
    else:
        yield repr(value)


# --- JSON ------------------------------------------------------------------------------------------------------------


def read_json(path: str | Path, most: int = LARGEST_JSON, lenient: bool = False) -> Any:
    """The value of a JSON file; a byte order mark is passed over.

    Args:
        path: the file; most: bytes it may have.
        lenient: for files of models, as other libraries read them: NaN and infinities are numbers, and of a key that
            stands twice the later one counts.

    Raises:
        OSError: it can't be opened; Unparsed: it is not JSON, or is too large or too deep.
    """
    return parse_json(read_bytes(path, most), str(path), most, lenient)


def read_text(path: str | Path, most: int = LARGEST_CONFIG) -> str:
    """The text of a file of at most so many bytes.

    Raises:
        OSError: it can't be opened; Unparsed: it is too large, or not UTF-8.
    """
    try:
        return read_bytes(path, most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ParseError(f"{path} is not UTF-8: {error.reason} at byte {error.start}.") from None


def read_bytes(path: str | Path, most: int) -> bytes:
    """A file's bytes, and never more than may be parsed: a file may be longer than it says.

    Raises:
        OSError: it can't be opened; Unparsed: it is too large.
    """
    with open_file(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ParseError(_too_long(str(path), most))
    return data


def parse_json(text: str | bytes, source: str = "It", most: int = LARGEST_JSON, lenient: bool = False) -> Any:
    """As ``read_json``, of a text; ``source`` names it in errors."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > most:
        raise ParseError(_too_long(source, most))
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


def depth(value: Any, data: bytes | None = None) -> int:
    """How deep lists and mappings lie in one another; ``data``, its JSON, spares looking where it has few brackets."""
    if data is not None and data.count(b"[") + data.count(b"{") <= DEEPEST:
        return 0
    levels, level = 0, [value]
    while level:
        levels += 1
        level = [
            inner
            for held in level
            if isinstance(held, dict | list)
            for inner in (held.values() if isinstance(held, dict) else held)
            if isinstance(inner, dict | list)
        ]
    return levels


def _too_long(source: str, most: int) -> str:
    return f"{source} has more than {most / 2**20:.0f} MB, which no such file has: look at what wrote it."


def _too_deep(source: str) -> str:
    return f"{source} is nested more than {DEEPEST} levels deep, which no such file is: look at what wrote it."


def _one_line(error: Exception) -> str:
    text = " ".join(str(error)[:1000].split())
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = set()
        twice = next(name for name, _ in pairs if name in names or names.add(name))
        raise ValueError(f"the key {short_repr(twice)} stands twice in one object")
    return made


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise ValueError(f"the number {text[:40]} is too large")
    return number


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
_LENIENT = json.JSONDecoder()


# --- YAML ------------------------------------------------------------------------------------------------------------


def read_yaml(path: str | Path, most: int = LARGEST_YAML, tagged: list[str] | None = None) -> Any:
    """The value of a YAML file; see ``parse_yaml``.

    Raises:
        OSError: it can't be opened; Unparsed: it is not YAML, or is too large or too deep.
    """
    return parse_yaml(read_bytes(path, most), str(path), most, tagged)


def parse_yaml(text: str | bytes, source: str = "It", most: int = LARGEST_YAML, tagged: list[str] | None = None) -> Any:
    """The value of a YAML text, after its size was counted with every alias written out.

    Args:
        text: one document; source: what it is called in errors; most: bytes it may have.
        tagged: where given, a value of an unknown tag is None, instead of an error, and its text is added here.

    Raises:
        Unparsed: it is not YAML, or is too large or too deep; its text names the cause.
    """
    if len(text) > most:
        raise ParseError(_too_long(source, most))
    try:
        content = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        _require_small(content, source)
        return _loader(tagged)(content).get_single_data()
    except ParseError:
        raise
    except RecursionError:
        raise ParseError(_too_deep(source)) from None
    except Exception as error:  # PyYAML raises IndexError, ValueError and others on odd scalars
        raise ParseError(f"{source} can't be read as YAML: {_one_line(error)}") from None


def _loader(tagged: list[str] | None) -> Any:
    import yaml

    if tagged is None:
        return yaml.SafeLoader

    class Lenient(yaml.SafeLoader):
        """YAML with tags of another program: read, and not obeyed."""

    Lenient.add_multi_constructor("!", lambda loader, suffix, node: tagged.append(str(node.value)))
    return Lenient


def _require_small(text: str, source: str) -> None:
    """Count values as if aliases were written out, event by event, before any is made."""
    import yaml

    loader = yaml.SafeLoader(text)
    sizes: dict[str, int] = {}  # values that an anchor stands for
    open_nodes: list[tuple[str | None, int]] = []  # anchor, and the count before it
    count = 0
    while loader.check_event():
        event = loader.get_event()
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, count))
            count += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            sizes |= {anchor: count - before} if anchor else {}
        elif isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_nodes):
                raise ParseError(
                    f"{source}: the alias *{short_repr(event.anchor, 40)[1:-1]} stands within what it names."
                )
            count += sizes.get(event.anchor, 1)
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


def _require_short_number(loader: Any, event: Any, source: str) -> None:
    """A whole number in base 60 of a million digits takes minutes."""
    import yaml

    if len(event.value) <= _LONGEST_NUMBER:
        return
    tag = event.tag or loader.resolve(yaml.ScalarNode, event.value, event.implicit)
    if str(tag).endswith((":int", ":float")):
        shown = "".join(islice(event.value, 40))
        raise ParseError(f"{source}: {shown}… is a number of {len(event.value):,} characters: put it in quotes.")

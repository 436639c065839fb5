"""Plain formats to rows: Alpaca, ShareGPT, OpenAI chat, prompt-completion; as JSON, JSONL, CSV or TSV.

Every mistake is named with its line; a file with any is not half-read.
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from etabli.contracts import Message, Row
from etabli.errors import BadData

MOST_SHOWN = 10
SHAREGPT_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
CHAT_ROLES = {"system", "developer", "user", "assistant"}
Item = dict[str, Any]
_BETWEEN = re.compile(r"[\s,]*")


def read(path: str | Path, format: str | None = None, columns: dict[str, str] | None = None) -> list[Row]:
    """Read a file of conversations.

    Args:
        path: ``.jsonl``, ``.json`` (a list), ``.csv`` or ``.tsv``.
        format: one of ``FORMATS``; by default told by the keys of the first row.
        columns: new name -> name in the file, for example ``{"prompt": "question", "completion": "reply"}``.

    Raises:
        BadData: no file, no rows, an unknown format, or rows that are not what the format says: all of them are
            counted and the first ten named with their line.
    """
    path = Path(path)
    items = list(_items(path))
    if not items:
        raise BadData(f"{path} is empty: there are 0 rows in it.")
    renamed = [(line, _rename(item, columns or {})) for line, item in items]
    kind = format or guess(renamed[0][1])
    if kind not in FORMATS:
        known = ", ".join(f"{name} ({', '.join(keys)})" for name, (keys, _) in FORMATS.items())
        had = ", ".join(map(str, renamed[0][1]))
        raise BadData(
            f"{path}: can't tell the format from the keys {had}. Known: {known}. Rename with columns={{...}}."
        )
    return _rows(path, kind, renamed)


def guess(item: Item) -> str | None:
    """The format whose keys a row has."""
    return next((name for name, (keys, _) in FORMATS.items() if all(key in item for key in keys)), None)


def _rows(path: Path, kind: str, items: list[tuple[int, Item]]) -> list[Row]:
    rows, problems = [], []
    for line, item in items:
        try:
            rows.append(_row(FORMATS[kind][1](item), item, path))
        except (KeyError, TypeError, ValueError) as error:
            said = f"no {error}" if isinstance(error, KeyError) else str(error)
            problems.append(f"line {line}: {said}")
    if problems:
        more = f"\n  … and {len(problems) - MOST_SHOWN} more" if len(problems) > MOST_SHOWN else ""
        shown = "\n  ".join(problems[:MOST_SHOWN])
        raise BadData(f"{path}: {len(problems)} of {len(items)} rows are not {kind}:\n  {shown}{more}")
    return rows


def _row(messages: list[Message], item: Item, path: Path) -> Row:
    said = json.dumps(messages, ensure_ascii=False)
    about = {name: str(item[name]) for name in ("lang", "source", "licence", "split", "template") if item.get(name)}
    return {"id": hashlib.sha256(said.encode()).hexdigest()[:16], "messages": messages, "source": path.name, **about}


# --- files ----------------------------------------------------------------------------------------------------------


def _items(path: Path) -> Iterator[tuple[int, Item]]:
    """(line, object) for every row of a file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadData(f"There is no file {path}.") from None
    except IsADirectoryError:
        raise BadData(f"{path} is a folder; name a file in it.") from None
    except PermissionError:
        raise BadData(f"{path} can't be read: permission denied.") from None
    except UnicodeDecodeError as error:
        raise BadData(f"{path} is not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}.") from None
    kind = path.suffix.lower()
    if kind in (".csv", ".tsv"):
        return _table(path, text, "\t" if kind == ".tsv" else ",")
    if kind == ".json" or text.lstrip()[:1] == "[":
        return _list(path, text)
    return _lines(path, text)


def _table(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, Item]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for item in reader:
            yield reader.line_num, item
    except csv.Error as error:
        raise BadData(f"{path}, line {reader.line_num + 1}: {error}.") from None


def _list(path: Path, text: str) -> Iterator[tuple[int, Item]]:
    """A JSON list. An object's line is found by decoding one object after another."""
    decoder, at, line = json.JSONDecoder(), 0, 1
    whole = _parse(path, 1, text)
    if not isinstance(whole, list):
        whole = [whole]
    at = text.find("[") + 1 if text.lstrip()[:1] == "[" else 0
    for item in whole:
        start = _BETWEEN.match(text, at).end()
        line += text.count("\n", at, start)
        yield line, item
        end = decoder.raw_decode(text, start)[1]
        line += text.count("\n", start, end)
        at = end


def _lines(path: Path, text: str) -> Iterator[tuple[int, Item]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, _parse(path, number, line)


def _parse(path: Path, line: int, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        at = line + getattr(error, "lineno", 1) - 1
        said = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
        raise BadData(f"{path}, line {at} is not JSON: {said}.") from None


def _rename(item: Any, columns: dict[str, str]) -> Any:
    if not isinstance(item, dict):
        return {"?": item}
    return item | {new: item[old] for new, old in columns.items() if old in item}


# --- formats --------------------------------------------------------------------------------------------------------


def _alpaca(item: Item) -> list[Message]:
    context = _text(item, "input", optional=True)
    asked = _text(item, "instruction") + (f"\n\n{context}" if context else "")
    return _talk(_text(item, "system", optional=True), asked, _text(item, "output"))


def _prompt_completion(item: Item) -> list[Message]:
    return _talk(_text(item, "system", optional=True), _text(item, "prompt"), _text(item, "completion"))


def _talk(system: str, asked: str, answer: str) -> list[Message]:
    first: list[Message] = [{"role": "system", "content": system}] if system else []
    return [*first, {"role": "user", "content": asked}, {"role": "assistant", "content": answer}]


def _sharegpt(item: Item) -> list[Message]:
    turns = _turns(item["conversations"])
    messages = []
    for number, turn in enumerate(turns, 1):
        said = _text(turn, "from")
        if said not in SHAREGPT_ROLES:
            raise ValueError(f"turn {number} is from {said!r}; known are {', '.join(SHAREGPT_ROLES)}")
        messages.append({"role": SHAREGPT_ROLES[said], "content": _text(turn, "value")})
    return _answered(messages)


def _chat(item: Item) -> list[Message]:
    messages = []
    for number, turn in enumerate(_turns(item["messages"]), 1):
        role = _text(turn, "role")
        if role not in CHAT_ROLES:
            raise ValueError(f"message {number} has the role {role!r}; known are {', '.join(sorted(CHAT_ROLES))}")
        message: Message = {"role": "system" if role == "developer" else role, "content": _text(turn, "content")}
        if "weight" in turn and role == "assistant":  # OpenAI's: 0 means "do not train on this answer"
            if turn["weight"] not in (0, 1):
                raise ValueError(f"message {number} has the weight {turn['weight']!r}; known are 0 and 1")
            message["train"] = bool(turn["weight"])
        messages.append(message)
    return _answered(messages)


def _turns(value: Any) -> list[Item]:
    if not isinstance(value, list) or not value or not all(isinstance(turn, dict) for turn in value):
        raise ValueError("the conversation must be a list of turns that is not empty")
    return value


def _answered(messages: list[Message]) -> list[Message]:
    if not any(message["role"] == "assistant" for message in messages):
        raise ValueError("there is no assistant turn to learn from")
    return messages


def _text(item: Item, key: str, optional: bool = False) -> str:
    value = item.get(key) if optional else item[key]
    if value is None and optional:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{key} is {type(value).__name__}, not text")
    if not value.strip() and not optional:
        raise ValueError(f"{key} is empty")
    return value


FORMATS: dict[str, tuple[tuple[str, ...], Callable[[Item], list[Message]]]] = {
    "chat": (("messages",), _chat),
    "sharegpt": (("conversations",), _sharegpt),
    "alpaca": (("instruction", "output"), _alpaca),
    "prompt-completion": (("prompt", "completion"), _prompt_completion),
}

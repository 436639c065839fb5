"""Secrets that are known by their value: what the environment and the libraries' token files hold.

A value counts if its name contains TOKEN, KEY, SECRET, PASSWORD, PASSWD, PASSPHRASE or CREDENTIAL, or ends with _PWD or
_PASS, and if it is worth covering (``is_secret``): at least eight characters, four of them different, no ordinary word,
no number of less than ten digits, and no path of this machine. A shorter value (``1``, ``true``, ``abc123``) stands in
many innocent texts: covering it would destroy them, and would tell the reader what it is.

A value is covered as it stands and as programs write it: escaped for JSON, HTML or an address, in base64 and in hex;
also its first half or more, where a text was cut. What was once in the environment stays secret until the process ends.
"""

import base64
import functools
import html
import json
import os
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, quote_plus, urlsplit

SHORTEST = 8  # characters
_KINDS = 4  # different characters
_LONGEST_FILE = 65_536  # bytes of a token file that are read
_LINE = 16  # characters: a line of a value of several lines that is secret by itself
_NAMES = re.compile(r"TOKEN|KEY|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|_PWD$|_PASS$", re.IGNORECASE)
_NO_VALUES = re.compile(r"(?:_FILE|_PATH|_DIR|_SOCK)$", re.IGNORECASE)  # such names tell where, not what
_WORDS = frozenset(
    [
        *("anonymous", "automatic", "changeme", "development", "disabled", "enabled", "keyboard", "localhost"),
        *("optional", "password", "production", "required", "undefined", "unlimited", "username"),
    ]
)
_IN_FILE = re.compile(r"(?i)(?:password|key|token|secret)\w*[\"']?\s*[=:]?\s*[\"']?([^\s\"',}]{8,})")


class _Forms(NamedTuple):
    """All forms of all values, and one pattern that finds where one of them may begin."""

    beginnings: re.Pattern[str] | None
    forms: tuple[str, ...]


_lock = threading.Lock()
_environment: dict[str, str] | None = None  # as it was when the values were read last
_values: set[str] = set()
_forms = _Forms(None, ())


def spans(text: str) -> list[tuple[int, int]]:
    """Return where secret values stand in a text: [(start, end)], in order."""
    beginnings, forms = current()
    places: list[tuple[int, int]] = []
    match = beginnings.search(text) if beginnings else None
    while beginnings and match:
        end = max(match.start() + _common(text, match.start(), form) for form in forms if form.startswith(match[0]))
        places.append((match.start(), end))
        match = beginnings.search(text, end)
    return places


def _common(text: str, start: int, form: str) -> int:
    """Return how many characters of a form stand in a text from ``start`` on."""
    piece = text[start : start + len(form)]
    return next((count for count, (a, b) in enumerate(zip(piece, form)) if a != b), len(piece))


def current() -> _Forms:
    """Return the forms of the values that are secret now. The environment is read again only if it has changed."""
    global _environment, _forms
    now = _snapshot()
    if now != _environment:
        with _lock:
            _values.update(_of_environment(), _of_files())
            _forms, _environment = _compile_forms(_values), now
    return _forms


def _snapshot() -> dict[str, str]:
    """A copy of the environment; CPython's own dict of it is copied a hundred times as fast as ``os.environ``."""
    return dict(getattr(os.environ, "_data", os.environ))


def forget() -> None:
    """Forget all values, and read the environment and the files again at the next call."""
    global _environment
    with _lock:
        _values.clear()
        _of_files.cache_clear()
        _environment = None


def longest() -> int:
    """Return the length of the longest form that has a blank in it: a text cut at a blank may end within it."""
    return max((len(form) for form in current().forms if re.search(r"\s", form)), default=0)


# --- which values -----------------------------------------------------------------------------------------------------


def is_secret(value: str) -> bool:
    """Return whether a value is to be covered wherever it stands. The module's docstring gives the rules."""
    if len(value) < SHORTEST or len({*value}) < _KINDS or value.lower() in _WORDS:
        return False
    if value.isdigit() and len(value) < 10:  # counts and sizes have as many digits
        return False
    return not _is_path(value)


def _is_path(value: str) -> bool:
    try:
        return Path(value).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long for a name, a NUL in it, a home that nobody has
        return False


def _of_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        if _NAMES.search(name) and not _NO_VALUES.search(name):
            yield from _parts(value)
        elif "@" in value and "://" in value:
            yield from _parts(_password_of(value))


def _password_of(address: str) -> str:
    try:
        return urlsplit(address).password or ""
    except ValueError:
        return ""


def _parts(value: str) -> list[str]:
    """Return a value without blanks at its ends, and each long line of a value of several lines, if they are secret."""
    lines = value.strip().splitlines()
    pieces = [value.strip(), *(line.strip() for line in lines if len(lines) > 1 and len(line.strip()) >= _LINE)]
    return [piece for piece in pieces if is_secret(piece)]


# --- token files ------------------------------------------------------------------------------------------------------


@functools.cache
def _of_files() -> frozenset[str]:
    """Return the values in the token files of Hugging Face, netrc, Kaggle and AWS. They are read once in a process."""
    return frozenset(part for path in _files() for value in _read(path) for part in _parts(value))


def _files() -> Iterable[Path]:
    home, place = Path("~").expanduser(), os.environ.get
    hub = Path(place("HF_HOME") or home / ".cache" / "huggingface")
    kaggle = Path(place("KAGGLE_CONFIG_DIR") or home / ".kaggle")
    return [
        Path(place("HF_TOKEN_PATH") or hub / "token"),
        hub / "stored_tokens",
        Path(place("NETRC") or home / ".netrc"),
        kaggle / "kaggle.json",
        kaggle / "access_token",
        Path(place("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws" / "credentials"),
    ]


def _read(path: Path) -> list[str]:
    try:
        if not path.is_file() or path.stat().st_size > _LONGEST_FILE:
            return []
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return []
    return [text] if len(text.split()) == 1 and text[:1] not in "{[" else _IN_FILE.findall(text)


# --- how they are written ---------------------------------------------------------------------------------------------


def _compile_forms(values: set[str]) -> _Forms:
    forms = sorted({form for value in values for form in _spellings(value) if len(form) >= SHORTEST})
    heads = sorted({_beginning(form) for form in forms}, key=lambda head: (len(head), head))
    return _Forms(re.compile("|".join(map(re.escape, heads))) if heads else None, tuple(forms))


def _beginning(form: str) -> str:
    """Return the part that identifies a form: half of it (a text may be cut), and at least ``SHORTEST`` characters."""
    return form[: max(SHORTEST, len(form) // 2)]


def _spellings(value: str) -> Iterator[str]:
    """Yield a value as it is, and as it looks in JSON, HTML, a URL, Python's ``repr``, base64 and hex."""
    data = value.encode("utf-8", "surrogatepass")
    url_forms = (quote(data, safe=""), quote(data), quote_plus(data))
    yield from (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1])
    yield from (html.escape(value), html.escape(value, quote=False))
    yield from (*url_forms, *(re.sub(r"%..", lambda code: code[0].lower(), text) for text in url_forms), data.hex())
    for offset in range(3):  # in the middle of something encoded, a secret begins at one of three places
        yield from (_inner(data, offset, altchars) for altchars in (b"+/", b"-_"))


def _inner(data: bytes, offset: int, altchars: bytes) -> str:
    """Return the base64 characters that depend only on ``data``, when ``offset`` other bytes stand before it."""
    text = base64.b64encode(bytes(offset) + data, altchars).decode()
    whole = (offset + len(data)) * 8 // 6
    return text[-(-offset * 8 // 6) : whole]

"""Secrets are covered in what is written and shown: keys, tokens and passwords, told by their shape."""

import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO

# Beginnings of keys and tokens, and what may follow. Ordinary words (task-specific, hf_models) have no digits there.
_SECRET = re.compile(
    r"(?<![\w-])(?:AKIA|ASIA|gh[pousr]_|github_pat_|glpat-|AIza|xox[abeprs]-|[rs]k_live_|npm_|pypi-AgE|SG\.|eyJ)[\w.-]{10,}"
    r"|(?<![\w-])(?:hf_|sk-)(?:(?=[\w-]{0,256}\d)[\w-]{16,}|[A-Za-z0-9]{20,})"
    r"|(?<!\d)\d{8,10}:AA[\w-]{20,}|:/{1,2}[^\s:/@\"']{1,256}:[^\s@\"']{3,256}@"
    r"|(?<![\w-])(?:gsk_|xai-|r8_)[\w-]{20,}|://[\w.~-]{20,256}@|://:[^\s@\"']{3,256}@"
    r"|(?i:token)[\"']?\s*[=:]\s*[\"']?(?=[^\s\"',;]{0,256}\d)[^\s\"',;]{16,}|(?i:bearer)\s+(?=\S{0,256}\d)[\w+/=.-]{16,}"
    r"|hooks\.slack\.com/services/[\w/]{12,}"
    r"|(?i:accountkey|api[_-]?key|secret(?:_access)?(?:[_-]key)?|(?:access|auth)[_-]?token|password|passwd|pwd)"
    r"[\"']?\s*[=:]\s*[\"']?(?=[^\s\"',;]{0,256}\d)[^\s\"',;]{8,}"
    r"|(?i:authorization[\"']?\s*[=:]\s*[\"']?(?:bearer|basic)\s+)[\w+/=.-]{8,}"
)
_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY.*?(?:-----END [A-Z ]*PRIVATE KEY[A-Z ]*-----|\Z)", re.DOTALL)
_BEGIN, _END = re.compile("-----BEGIN [A-Z ]*PRIVATE KEY"), re.compile("-----END [A-Z ]*PRIVATE KEY")


def hidden(text: str) -> str:
    """Text without its secrets: a report must not be a second leak. The first four characters stay."""
    covered = _KEY.sub("----•••", text) if "PRIVATE KEY" in text else text
    return _SECRET.sub(lambda found: found[0][:4] + "•" * (len(found[0]) - 4), covered)


def deep(value: Any) -> Any:
    """The same for every text within dicts and lists."""
    if isinstance(value, str):
        return hidden(value)
    if isinstance(value, dict):
        return {key: deep(item) for key, item in value.items()}
    return [deep(item) for item in value] if isinstance(value, list | tuple) else value


class Scrubbed:
    """A stream that covers secrets in whole lines; what is not yet a line waits for its end."""

    def __init__(self, stream: TextIO):
        self._stream, self._waiting, self._in_key = stream, "", False

    def write(self, text: str) -> int:
        """Pass on what has become whole lines."""
        *lines, self._waiting = (self._waiting + text).split("\n")
        for line in lines:
            self._stream.write(self._covered(line) + "\n")
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """As ``write``."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Pass on what waits, too."""
        self._stream.write(self._covered(self._waiting))
        self._waiting = ""
        self._stream.flush()

    def _covered(self, line: str) -> str:
        """A line without its secrets; a private key runs over many."""
        within = self._in_key
        self._in_key = bool(_BEGIN.search(line) or within) and not _END.search(line)
        return "•••" if within else hidden(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def standard_streams() -> None:
    """Cover secrets in whatever this process prints, tracebacks too."""
    sys.stdout, sys.stderr = Scrubbed(sys.stdout), Scrubbed(sys.stderr)

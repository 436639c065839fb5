"""Secrets never stand in what is written or shown: keys, tokens and passwords are covered, by their shape."""

import re
import sys
from typing import Any, TextIO

# Beginnings of keys and tokens, and what may follow: looser than the check of data for secrets, since here nothing is
# lost but a few characters of a log.
_SECRET = re.compile(
    r"(?:AKIA|ASIA|gh[pousr]_|github_pat_|glpat-|hf_|sk-|AIza|xox[abeprs]-|[rs]k_live_|npm_|pypi-|SG\.|eyJ)[\w.-]{6,}"
    r"|\d{8,10}:AA[\w-]{20,}|://[^\s:/@\"']+:[^\s@\"']{3,}@|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|hooks\.slack\.com/services/[\w/]{12,}"
    r"|(?i:accountkey|api[_-]?key|secret(?:_access)?(?:[_-]key)?|access[_-]?token|auth[_-]?token|_token|password|passwd|pwd)"
    r"[\"']?\s*[=:]\s*[\"']?[^\s\"',;]{8,}"
    r"|(?i:authorization[\"']?\s*[=:]\s*[\"']?(?:bearer|basic)\s+)[\w+/=.-]{8,}"
)


def hidden(text: str) -> str:
    """Text without its secrets: a report must not be a second leak. The first four characters stay."""
    return _SECRET.sub(lambda found: found[0][:4] + "•" * (len(found[0]) - 4), text)


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
        self._stream, self._waiting = stream, ""

    def write(self, text: str) -> int:
        """Pass on what has become whole lines."""
        *lines, self._waiting = (self._waiting + text).split("\n")
        for line in lines:
            self._stream.write(hidden(line) + "\n")
        return len(text)

    def flush(self) -> None:
        """Pass on what waits, too."""
        self._stream.write(hidden(self._waiting))
        self._waiting = ""
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def standard_streams() -> None:
    """Cover secrets in whatever this process prints, tracebacks too."""
    sys.stdout, sys.stderr = Scrubbed(sys.stdout), Scrubbed(sys.stderr)

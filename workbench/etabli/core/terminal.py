"""What goes to a terminal: secrets covered, and nothing in it that a terminal obeys.

Names, warnings, errors, data and answers come from others. A control character in them could hide a line, write over
it, set the title or the clipboard (OSC 8, OSC 52), or turn the reading direction. Each is written out as ``\\u001b``,
which is also what JSON means by it. Line breaks and tabs stay.
"""

import re
import sys

from etabli.core.secrets import cover_secrets

# Signs that a terminal or a page obeys or does not show; etabli_widgets._base and static/shared.js have the same ones,
# but for the carriage return, lone surrogates and tags. Joiners may stay between two signs that are not Latin.
_FOREIGN = "[\u0300-\u1fff\u2100-\ufefe\U00010000-\U0010ffff]"
_JOINED = f"(?!(?<={_FOREIGN})[\u200c\u200d](?={_FOREIGN}))"
_OBEYED = re.compile(
    _JOINED + "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def to_printable(text: str) -> str:
    """Text for a person: without secrets, and with control characters written out. The only way to a terminal."""
    return escape_controls(cover_secrets(text))


def escape_controls(text: str) -> str:
    """Text in which nothing is obeyed; a Windows line break is a line break."""
    return _OBEYED.sub(_written_out, text.replace("\r\n", "\n"))


def _written_out(sign: re.Match[str]) -> str:
    units = sign[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def say(*lines: str) -> None:
    """Print lines for a person, to stderr."""
    for line in lines:
        print(to_printable(line), file=sys.stderr, flush=True)


def rewrite(text: str, width: int = 100) -> None:
    """Print a line of progress over the one before it, to stderr."""
    print(f"\r{to_printable(text):<{width}}", end="", file=sys.stderr, flush=True)

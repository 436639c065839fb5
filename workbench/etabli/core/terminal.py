"""Text for a terminal: secrets are covered, and control characters are written out.

Names, warnings, errors, data and answers come from others. A control character in them could hide or overwrite a line,
set the title or the clipboard (OSC 8, OSC 52), or turn the reading direction. Each is written as in JSON: ``\\u001b``.
Line breaks and tabs stay.
"""

import re
import sys
import threading

from etabli.core.secrets import cover_secrets

# Signs that a terminal or a page obeys or does not show; etabli_widgets._base and static/shared.js have the same ones,
# but for the carriage return, lone surrogates and tags. Joiners may stay between two signs that are not Latin.
_FOREIGN = "[\u0300-\u1fff\u2100-\ufefe\U00010000-\U0010ffff]"
_NOT_A_JOINER = f"(?!(?<={_FOREIGN})[\u200c\u200d](?={_FOREIGN}))"
_CONTROLS = re.compile(
    _NOT_A_JOINER + "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def to_printable(text: str) -> str:
    """Return a text with secrets covered and control characters written out. All output to a terminal passes here."""
    return escape_controls(cover_secrets(text))


def escape_controls(text: str) -> str:
    """Return a text with control characters written out; a Windows line break becomes a line break."""
    return _CONTROLS.sub(_written_out, text.replace("\r\n", "\n"))


def _written_out(sign: re.Match[str]) -> str:
    units = sign[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def in_notebook() -> bool:
    """Return whether a notebook's kernel runs this code. That some library has imported ipykernel is not enough."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def in_cell() -> bool:
    """Return whether a notebook's cell runs this code, in its own thread: an output of a widget's message is lost."""
    if not in_notebook() or threading.current_thread() is not threading.main_thread():
        return False
    kernel = sys.modules["IPython"].get_ipython().kernel
    parent = kernel.get_parent("shell") if hasattr(kernel, "get_parent") else {}
    return bool(parent.get("header", {}).get("msg_type", "execute_request") == "execute_request")


_line_width = 0  # of a line of progress that is open on stderr


def set_line_width(width: int) -> None:
    """Note how wide the open line of progress on stderr is, so that ``say`` covers it; 0: there is none."""
    global _line_width
    _line_width = width


def say(*lines: str) -> None:
    """Print lines for a person: to stderr, so that stdout holds only results; in a notebook, whose stderr is a red box
    as if something had failed, to stdout.
    """
    if _line_width:
        print(f"\r{'':<{_line_width}}\r", end="", file=sys.stderr, flush=True)
    for line in lines:
        print(to_printable(line), file=sys.stdout if in_notebook() else sys.stderr, flush=True)

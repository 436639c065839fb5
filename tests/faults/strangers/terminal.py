"""What a terminal would obey in what was shown."""

import re

# Tabs and line ends are text. A library's line of progress begins with a carriage return, and is rewritten in place:
# a return is hostile where it stands before what the payload ``carriage return`` puts there.
_PROGRESS = re.compile(rb"\r(?!ok, all is well)")
_RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\u200e\u200f\u2028\u2029\ufeff]")


def raw(text: bytes) -> list[str]:
    """Control characters that stand in it as they are, each once, with a little of what surrounds the first."""
    shown = _PROGRESS.sub(b"", text).decode("utf-8", "replace")
    places: dict[str, str] = {}
    for match in _RAW.finditer(shown):
        places.setdefault(match[0], shown[max(0, match.start() - 30) : match.end() + 20])
    return [f"U+{ord(sign):04X} in {around!r}" for sign, around in places.items()]

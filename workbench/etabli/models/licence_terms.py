"""Whether a licence is open, by its identifier: the Hub's field ``license``, or the name of a licence of one's own."""

import re

OPEN, RESTRICTED, UNKNOWN = "open", "restricted", "unknown"
# Approved by the OSI or the Open Definition: use, change and share for any purpose.
_OPEN = re.compile(
    r"(?i)(apache-2\.0|mit(-0)?|bsd(-[0-9]-clause.*)?|isc|zlib|unlicense|wtfpl|ms-pl|ncsa|postgresql|artistic-2\.0"
    r"|[al]?gpl(-[0-9.]+)?(-only|-or-later)?|mpl-2\.0|epl-[12]\.0|eupl-1\.[12]|ecl-2\.0|afl-3\.0|osl-3\.0|bsl-1\.0"
    r"|cc0-1\.0|cc-by(-sa)?-[0-9.]+|pddl|odbl|odc-by|cdla-permissive-[12]\.0|cdla-sharing-1\.0|openmdw(-[0-9.]+)?)"
)
# Public to fetch, with conditions on the purpose, the field, the number of users or the use of outputs.
_RESTRICTED = re.compile(
    r"(?i)(^|[^a-z])(nc|nd)([^a-z]|$)|non-?commercial|research|(open)?rail|gemma|llama|bigcode|falcon|deepseek|qwen"
    r"|tongyi|mnpl|mrl|community|academic|proprietary|acceptable.use|stabilityai|cohere|grok|glm"
)
# The first lines of a licence's text, where a folder has a LICENSE and its card names none.
_TEXTS = (
    (re.compile(r"(?i)apache license\s+version 2\.0"), "apache-2.0"),
    (re.compile(r"(?i)\bmit license\b|permission is hereby granted, free of charge"), "mit"),
    (re.compile(r"(?i)gemma terms of use"), "gemma"),
    (re.compile(r"(?i)llama [0-9.]+ community license"), "llama"),
)


def classify(licence: str) -> str:
    """Return ``open``, ``restricted`` or ``unknown`` for a licence's identifier or name."""
    if _OPEN.fullmatch(licence.strip()):
        return OPEN
    return RESTRICTED if _RESTRICTED.search(licence) else UNKNOWN


def recognise(text: str) -> str | None:
    """Return the identifier of a licence by the beginning of its text; None if it is not a known one."""
    start = " ".join(text[:2000].split())
    return next((name for pattern, name in _TEXTS if pattern.search(start)), None)

"""Find characters that are invisible, reverse the text or were read in the wrong encoding, and control tokens."""

import re
from collections.abc import Iterator

from etabli.data.notes import Note, excerpt

_CONTROL = re.compile(r"[\x01-\x08\x0b\x0e-\x1f\x7f\x80-\x84\x86-\x9f]")
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
# Persian, Hindi and emoji need zero-width characters; between Latin letters they only hide something.
_LATIN = "[0-9A-Za-z\u00c0-\u024f]"
_INVISIBLE = re.compile(
    f"(?<={_LATIN})[\u200c-\u200f\u034f\u115f\u3164\ufe00-\ufe0f](?={_LATIN})"
    "|[\u200b\u2060-\u2064\u180e\ufeff\U000e0001-\U000e01ef]"
)
# UTF-8 that was read as Latin-1 or CP-1252, and the sign for bytes that could not be read.
_MOJIBAKE = re.compile(
    "\ufffd|\u00c3[\u0080-\u00bf]|\u00c2[\u00a0-\u00bf]|\u00e2\u20ac[\u0080-\u00ff\u2018-\u2122\u0153]"
)
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f")  # the flags of England, Scotland and Wales

# Control tokens of common model families; those of the chosen model are added from its tokenizer.
CONTROL_TOKENS = tuple(
    """
    <|im_start|> <|im_end|> <|endoftext|> <|eot_id|> <|start_header_id|> <|end_header_id|> <|begin_of_text|>
    <|end_of_text|> <|system|> <|user|> <|assistant|> <|end|> <|eom_id|> <start_of_turn> <end_of_turn> <bos> <eos>
    <|endofprompt|> [/INST] [INST] <<SYS>> <</SYS>> <|channel|> <|message|> <|return|> <|python_tag|>
    [AVAILABLE_TOOLS] [TOOL_CALLS] <\uff5cUser\uff5c> <\uff5cAssistant\uff5c>
    <\uff5cend\u2581of\u2581sentence\uff5c>
    """.split()  # noqa: SIM905 - one token after another is easier to read and to extend than quoted strings
)
_TURN_ENDS = ("</s>", "<s>")  # HTML's strike-through too: not counted where one tag opens and the other closes


def control_pattern(names: tuple[str, ...] = ()) -> re.Pattern[str]:
    """Return one pattern of the common control tokens and ``names``, longest first."""
    names = tuple(sorted({*CONTROL_TOKENS, *_TURN_ENDS, *names}, key=len, reverse=True))
    return re.compile("|".join(map(re.escape, names)))


def check(text: str, where: str, control_tokens: re.Pattern[str]) -> Iterator[Note]:
    """Yield notes on the characters of one text; ``where``: its place in the row."""
    if match := _CONTROL.search(text):
        yield Note("control-characters", where, excerpt(text, match.start()), span=match.span())
    if "<" in text or "[" in text:
        yield from _check_control_tokens(text, where, control_tokens)
    if text.isascii():
        return
    for code, pattern, searched_text in (
        ("mojibake", _MOJIBAKE, text),
        ("bidi", _BIDI, text),
        ("invisible", _INVISIBLE, _FLAG.sub(lambda flag: "-" * len(flag[0]), text)),
    ):
        if match := pattern.search(searched_text):
            yield Note(code, where, excerpt(text, match.start()), span=match.span())


def _check_control_tokens(text: str, where: str, control_tokens: re.Pattern[str]) -> Iterator[Note]:
    is_strike_through = "<s>" in text and "</s>" in text and not text.startswith("<s>")
    for match in control_tokens.finditer(text):
        if match[0] in _TURN_ENDS and is_strike_through:
            continue
        why = f"The control token {match[0]} is typed as text. établi keeps it text; others read it as structure."
        yield Note("control-token", where, excerpt(text, match.start()), why, match.span())
        return

"""Characters that hide, reverse or break: looked for in every text of a row."""

import re
from collections.abc import Iterator

from etabli.data.notes import Note, excerpt

_CONTROL = re.compile(r"[\x01-\x08\x0b\x0e-\x1f\x7f\x80-\x84\x86-\x9f]")
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
# Zero-width characters are letters' business in Persian, Hindi or emoji; between Latin letters they only hide.
_LATIN = "[0-9A-Za-z\u00c0-\u024f]"
_INVISIBLE = re.compile(
    f"(?<={_LATIN})[\u200c-\u200f\u034f\u115f\u3164\ufe00-\ufe0f](?={_LATIN})"
    "|[\u200b\u2060-\u2064\u180e\ufeff\U000e0001-\U000e01ef]"
)
# UTF-8 read as Latin-1 or CP-1252 and written again, and what could not be read at all.
_MOJIBAKE = re.compile(
    "\ufffd|\u00c3[\u0080-\u00bf]|\u00c2[\u00a0-\u00bf]|\u00e2\u20ac[\u0080-\u00ff\u2018-\u2122\u0153]"
)
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f")  # the flags of England, Scotland and Wales

# Control tokens of the families that people tune. A model's own are added when its tokenizer is at hand.
CONTROL_TOKENS = (
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|begin_of_text|>", "<|end_of_text|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|eom_id|>",
    "<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>", "<|endofprompt|>", "[/INST]", "[INST]", "<<SYS>>", "<</SYS>>",
    "<|channel|>", "<|message|>", "<|return|>", "<|python_tag|>", "[AVAILABLE_TOOLS]", "[TOOL_CALLS]",
    "<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>",
)  # fmt: skip
_TURN_ENDS = ("</s>", "<s>")  # also HTML's strike-through: only where no tag closes or opens it


def control_pattern(more: tuple[str, ...] = ()) -> re.Pattern:
    """Control tokens as one pattern, longest first."""
    names = sorted({*CONTROL_TOKENS, *_TURN_ENDS, *more}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, names)))


def check(text: str, where: str, control: re.Pattern) -> Iterator[Note]:
    """What is wrong with the characters of one text."""
    if found := _CONTROL.search(text):
        yield Note("control-characters", where, excerpt(text, found.start()))
    if "<" in text or "[" in text:
        yield from _tokens(text, where, control)
    if text.isascii():
        return
    for code, pattern, looked_at in (
        ("mojibake", _MOJIBAKE, text),
        ("bidi", _BIDI, text),
        ("invisible", _INVISIBLE, _FLAG.sub("", text)),
    ):
        if found := pattern.search(looked_at):
            yield Note(code, where, excerpt(looked_at, found.start()))


def _tokens(text: str, where: str, control: re.Pattern) -> Iterator[Note]:
    for found in control.finditer(text):
        if found[0] in _TURN_ENDS and "<s>" in text and "</s>" in text and not text.startswith("<s>"):
            continue
        said = f"The control token {found[0]} is typed as text. établi keeps it text; others read it as structure."
        yield Note("control-token", where, excerpt(text, found.start()), said)
        return

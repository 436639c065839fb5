"""What a row says: refusals, disclaimers, cut-off and empty answers, templates that leaked, rows that ran together."""

import re
import zlib
from collections.abc import Iterator
from itertools import islice

from etabli.checks import language
from etabli.checks.rules import PACKS
from etabli.core.contracts import Message
from etabli.data.notes import Note, excerpt

LONGEST_PLACEHOLDER = 80
_PLACEHOLDER = re.compile(
    r"\W*(?:n/a|nan|todo|tbd|tbc|xxx+|lorem ipsum.*|\[?no ?(?:output|answer|response|input|content)\]?"
    r"|< ?no ?(?:in|out)put ?>|\.{1,}|\?+|-+)\W*\Z",
    re.IGNORECASE | re.DOTALL,
)
_LEAKED = re.compile(
    r"^[ \t]*#{2,3}[ \t]*(?:Instruction|Response|Human|Assistant|User)[ \t]*:?[ \t]*$|\A[ \t]*#{2,3}[ \t]*Output[ \t]*:"
    r"|^[ \t]*<\|\w+\|>|\{\{ ?\w+ ?\}\}"
    r"|(?<!begin)(?<!end)\{(?:instruction|input|output|question|context|prompt|query|response)\}"
    r"|Below is an instruction that describes a task",
    re.MULTILINE,
)
_TALK = (
    re.compile(r"^[ \t]*(?:Human|USER)[ \t]*:", re.MULTILINE),
    re.compile(r"^[ \t]*(?:Assistant|ASSISTANT|GPT)[ \t]*:", re.MULTILINE),
)
_CODE = re.compile(
    r"```|`[^`\n]*\{|jinja|template|vue|ansible|latex|handlebars|mustache|f\"|\bconst\b|\bdef\b|class=|</\w+>",
    re.IGNORECASE,
)
_MERGED = re.compile(
    r"^[ \t]*(?:#+[ \t]*)?\d+\.\s*(?:Instruction|Prompt)\s*:|^[ \t]*#+[ \t]*\d+\.[ \t]*$",
    re.MULTILINE | re.IGNORECASE,
)
_LABEL = re.compile(r"^[ \t]*(?:#+[ \t]*)?Instruction[ \t]*:[ \t]*\S", re.MULTILINE | re.IGNORECASE)
_PICTURE = re.compile(
    r"<(?:image|video|audio)>|!\[[^\]]*\]\([^)]*\)|<img\b|\bhttps?://\S+\.(?:png|jpe?g|gif|webp|mp4|mp3|wav|pdf)\b",
    re.IGNORECASE,
)
_ENDED = re.compile(r"[.!?…:;)\]}\"'”’»`*>|~。！？؟।%$€£_=+#@\\/-]\s*\Z")
_PAGE = re.compile(r"^[ \t]*<html\b", re.IGNORECASE | re.MULTILINE)
_BARE_ITEM = re.compile(r"\A\s*(?:[2-9]|\d{2,3})[.)]\s*\Z")
_ITEM = re.compile(r"\A\s*(?:[-*•]|\d+[.)]|[a-zA-Z][.)])\s+")
_TAIL = re.compile(r"(?:#\w+|https?://\S+|\S+@\S+|[\w.-]+\.(?:com|org|net|fr)\S*)\s*\Z|^\s*[-–—~]\s*\S", re.MULTILINE)
_WORDS = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
# "Answer in Finnish", "say it in Dutch": names of languages end so.
_TONGUE = re.compile(r"\b(?:in|into|to|en) [A-Z]\w+(?:ish|ese|ian|an|ic|ch|hai|indi|ili|rdu)\b|\bsay ['\"‘“]")
_CODELIKE = re.compile(r"[{};=<>]|\\[a-z]+|^\s{4}", re.MULTILINE)


def check(messages: list[Message], lang: str | None, packs: list[str]) -> Iterator[Note]:
    """What is doubtful about the questions and answers of a conversation.

    Args:
        messages: the conversation.
        lang: its language as told, or None.
        packs: which rule packs apply to it.
    """
    asked = ""
    for number, message in enumerate(messages):
        text, where = message["content"], f"messages[{number}].content"
        if not text.strip():
            continue
        if message["role"] == "user":
            asked = text
            yield from _question(text, where, packs)
        elif message["role"] == "assistant":
            yield from _answer(text, where, packs, asked)
            yield from wrong_language(text, asked, lang, where)
        if message["role"] in ("user", "assistant") and (found := _leak(text, asked)):
            yield Note("leaked-template", where, excerpt(text, found.start()))
        if message["role"] == "text":
            yield from repetition(text, where)


def _leak(text: str, asked: str) -> re.Match | None:
    """A marker of another template; not a template that somebody asked about, nor one side's lines of a play."""
    found = _LEAKED.search(text)
    if found is None:
        human, machine = (pattern.search(text) for pattern in _TALK)
        return human if human and machine else None
    braces = found[0].lstrip().startswith("{")
    return None if braces and (_CODE.search(text) or _CODE.search(asked)) else found


def _question(text: str, where: str, packs: list[str]) -> Iterator[Note]:
    found = _PICTURE.search(text) or next(
        (hit for pack in packs if (hit := PACKS[pack]["unseen-media"].search(text))), None
    )
    if found:
        yield Note("unseen-media", where, excerpt(text, found.start()))
    if merged := _merged(text):
        yield Note("merged-rows", where, excerpt(text, merged.start()))


def _merged(text: str) -> re.Match | None:
    """A numbered instruction, or the second of two labels."""
    return _MERGED.search(text) or next(islice(_LABEL.finditer(text), 1, None), None)


def _answer(text: str, where: str, packs: list[str], asked: str) -> Iterator[Note]:
    if len(text) <= LONGEST_PLACEHOLDER and _PLACEHOLDER.match(text):
        yield Note("placeholder", where, excerpt(text))
        return
    if merged := _merged(text):
        yield Note("merged-rows", where, excerpt(text, merged.start()))
    for code in ("ai-disclaimer", "refusal"):
        found = next((hit for pack in packs if (hit := PACKS[pack][code].search(text))), None)
        if found:
            yield Note(code, where, excerpt(text, found.start()))
    if why := cut_off(text, packs):
        yield Note("truncated-answer", where, excerpt(text, len(text)), why)
    yield from repetition(text, where)


def cut_off(text: str, packs: list[str]) -> str:
    """Why an answer looks as if it stopped in mid-sentence, or nothing.

    A code fence that is not closed; or a last line that reads as a sentence (several words, most of them in small
    letters) and has no end, in a text that is long enough to have been cut, or that ends in a word no sentence ends in.
    """
    if text.count("```") % 2:
        return "A code block is opened and not closed."
    if _PAGE.search(text) and "</html>" not in text.casefold():
        return "A page of HTML is begun and not ended."
    if _BARE_ITEM.match(text.rstrip().rsplit("\n", 1)[-1]) and "\n" in text:
        return "The last item of a list is empty."
    if text.lstrip()[:1] in "{[" and text.lstrip()[:1] and _open(text):
        return "Brackets are opened and not closed."
    last = text.rstrip()[-1]
    if len(text) < 40 or _ENDED.search(text) or not (last.isalnum() or last in ",–—") or _unpunctuated(text):
        return ""
    last = _ITEM.sub("", text.rstrip().rsplit("\n", 1)[-1])[-400:]
    words = _WORDS.findall(last)
    if not words or not words[-1][-1].isalpha() or _TAIL.search(last) or _CODELIKE.search(last):
        return ""
    if len(words) >= 3 and any(PACKS[pack]["cut-words"].search(last) for pack in packs) and words[-1].islower():
        return f"The answer ends in {words[-1]!r}, which ends no sentence."
    small = sum(word[0].islower() for word in words) / len(words)
    sentences = len(re.findall(r"[.!?](?:\s|\Z)", text))
    if len(words) >= 6 and small >= 0.7 and len(text) >= 400 and sentences >= 2:
        return "The last sentence has no end."
    return ""


def _open(text: str) -> bool:
    """JSON that was begun and is not whole."""
    body = re.sub(r'"(?:[^"\\\\]|\\\\.)*"', "", text)
    return body.count("{") + body.count("[") > body.count("}") + body.count("]") and '"' in text


def _unpunctuated(text: str) -> bool:
    """A poem, a list, a table: lines of which most have no stop, so that the last needs none."""
    lines = [line for line in text.splitlines() if line.strip()]
    return len(lines) >= 4 and sum(bool(re.search(r"[.!?…:;]\s*\Z", line)) for line in lines) < len(lines) / 2


def repetition(text: str, where: str) -> Iterator[Note]:
    """Lines or word sequences that come again and again (Gopher's rules, arXiv 2112.11446, table A1)."""
    lines = [line.strip() for line in text[:100_000].splitlines() if len(_WORDS.findall(line)) >= 3]
    if len(lines) >= 6 and len(set(lines)) < 0.7 * len(lines):
        yield Note(
            "repetition",
            where,
            excerpt(text),
            f"{len(lines) - len(set(lines))} of {len(lines)} lines are copies of others.",
        )
        return
    if len(text) < 200 or len(text) / len(zlib.compress(text[:20_000].encode("utf-8", "replace"))) < 2.2:
        return  # text that does not shrink does not repeat: cheap, and spares the counting
    if _CODELIKE.search(text) and text.count('"') + text.count("<") + text.count("|") > len(text) / 60:
        return  # programs, tables and pages repeat themselves for good reasons
    words = text.casefold().split()[:4000]
    why = _repeated(words)
    if why:
        yield Note("repetition", where, excerpt(text), why)


def _repeated(words: list[str]) -> str:
    for size, share in ((4, 0.16), (3, 0.18), (2, 0.20)):
        if len(words) < 10 * size:
            continue
        grams = [tuple(words[start : start + size]) for start in range(len(words) - size + 1)]
        counts: dict[tuple[str, ...], int] = {}
        for gram in grams:
            counts[gram] = counts.get(gram, 0) + 1
        gram, count = max(counts.items(), key=lambda item: item[1] * len(" ".join(item[0])))
        covered = count * len(" ".join(gram)) / len(" ".join(words))
        if count > 2 and covered > share and any(any(char.isalpha() for char in word) for word in gram):
            return f"{' '.join(gram)!r} comes {count} times and is {min(covered, 1):.0%} of the text."
    return ""


def wrong_language(answer: str, asked: str, lang: str | None, where: str) -> Iterator[Note]:
    """An answer in another language than the row says or the question has, unless a translation was asked for."""
    if any(pack["translation"].search(asked) for pack in PACKS.values()) or _TONGUE.search(asked):
        return
    said = language.sure(answer) if len(answer) >= 60 else None
    if said is None:
        return
    wanted = language.base(lang) or (language.sure(asked) if len(asked) >= 40 else None)
    if wanted and wanted != said:
        yield Note(
            "wrong-language", where, excerpt(answer), f"The answer is {said}, the question {wanted} ({language.NAME})."
        )

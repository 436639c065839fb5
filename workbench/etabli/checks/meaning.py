"""Check what a row says: refusals, disclaimers, cut-off or empty answers, leaked templates, merged rows."""

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from etabli.checks import language
from etabli.checks.rules import PACKS
from etabli.core.contracts import Message
from etabli.core.wording import choose_form
from etabli.data.notes import Note, excerpt

MAX_PLACEHOLDER_CHARACTERS = 80
LAST_SHOWN = 24  # characters at a text's end, of a text that stops in mid-sentence
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
_NUMBERED_PROMPT = re.compile(
    r"^[ \t]*(?:#+[ \t]*)?\d+\.\s*(?:Instruction|Prompt)\s*:|^[ \t]*#+[ \t]*\d+\.[ \t]*$",
    re.MULTILINE | re.IGNORECASE,
)
_LABEL = re.compile(r"^[ \t]*(?:#+[ \t]*)?Instruction[ \t]*:[ \t]*\S", re.MULTILINE | re.IGNORECASE)
_PICTURE = re.compile(
    r"<(?:image|video|audio)>|!\[[^\]]*\]\([^)]*\)|<img\b|\bhttps?://\S+\.(?:png|jpe?g|gif|webp|mp4|mp3|wav|pdf)\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?…:;)\]}\"'”’»`*>|~。！？؟।%$€£_=+#@\\/-]\s*\Z")
_PAGE = re.compile(r"^[ \t]*<html\b", re.IGNORECASE | re.MULTILINE)
_BARE_ITEM = re.compile(r"\A\s*(?:[2-9]|\d{2,3})[.)]\s*\Z")
_ITEM = re.compile(r"\A\s*(?:[-*•]|\d+[.)]|[a-zA-Z][.)])\s+")
_TAIL = re.compile(r"(?:#\w+|https?://\S+|\S+@\S+|[\w.-]+\.(?:com|org|net|fr)\S*)\s*\Z|^\s*[-–—~]\s*\S", re.MULTILINE)
_WORDS = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
# "Answer in Finnish", "say it in Dutch": the usual endings of names of languages.
_LANGUAGE_NAME = re.compile(r"\b(?:in|into|to|en) [A-Z]\w+(?:ish|ese|ian|an|ic|ch|hai|indi|ili|rdu)\b|\bsay ['\"‘“]")
_CODELIKE = re.compile(r"[{};=<>]|\\[a-z]+|^\s{4}", re.MULTILINE)


def check(messages: list[Message], lang: str | None, packs: list[str]) -> Iterator[Note]:
    """Yield notes on the questions and answers of a conversation.

    Args:
        lang: the language that the row states, or None; packs: the rule packs that apply to it.
    """
    question = ""
    for number, message in enumerate(messages):
        text, role, where = message["content"], message["role"], f"messages[{number}].content"
        if not text.strip():
            continue
        if role == "user":
            question = text
            yield from _check_question(text, where, packs)
        elif role == "assistant":
            yield from _check_answer(text, where, packs)
            yield from _check_language(text, question, lang, where)
        if role in ("user", "assistant") and (match := _find_leaked_template(text, question)):
            yield Note("leaked-template", where, excerpt(text, match.start()), span=match.span())
        if role == "text":
            yield from _check_repetition(text, where)


def _find_leaked_template(text: str, question: str) -> re.Match[str] | None:
    """Find a marker of another template; not in a text about templates, and not the lines of one person in a play."""
    match = _LEAKED.search(text)
    if match is None:
        human, assistant = (pattern.search(text) for pattern in _TALK)
        return human if human and assistant else None
    is_brace = match[0].lstrip().startswith("{")
    return None if is_brace and (_CODE.search(text) or _CODE.search(question)) else match


def _search_packs(packs: list[str], code: str, text: str) -> re.Match[str] | None:
    return next((match for pack in packs if (match := PACKS[pack][code].search(text))), None)


def _check_question(text: str, where: str, packs: list[str]) -> Iterator[Note]:
    if match := _PICTURE.search(text) or _search_packs(packs, "unseen-media", text):
        yield Note("unseen-media", where, excerpt(text, match.start()), span=match.span())
    if match := _find_merged_row(text):
        yield Note("merged-rows", where, excerpt(text, match.start()), span=match.span())


def _find_merged_row(text: str) -> re.Match[str] | None:
    """Find a numbered instruction, or the second of two "Instruction:" labels."""
    return _NUMBERED_PROMPT.search(text) or next(islice(_LABEL.finditer(text), 1, None), None)


def _check_answer(text: str, where: str, packs: list[str]) -> Iterator[Note]:
    if len(text) <= MAX_PLACEHOLDER_CHARACTERS and _PLACEHOLDER.match(text):
        yield Note("placeholder", where, excerpt(text), span=(0, len(text)))
        return
    if match := _find_merged_row(text):
        yield Note("merged-rows", where, excerpt(text, match.start()), span=match.span())
    for code in ("ai-disclaimer", "refusal"):
        if match := _search_packs(packs, code, text):
            yield Note(code, where, excerpt(text, match.start()), span=match.span())
    if why := why_cut_off(text, packs):
        span = (max(0, len(text) - LAST_SHOWN), len(text))
        yield Note("truncated-answer", where, excerpt(text, len(text)), why, span)
    yield from _check_repetition(text, where)


def why_cut_off(text: str, packs: list[str]) -> str:
    """Return why an answer looks cut off, or an empty string.

    Either something is opened and not closed; or the last line looks like a sentence without an end, in a text that is
    long enough, or it ends in a word that ends no sentence.
    """
    if text.count("```") % 2:
        return "A code block is opened and not closed."
    if _PAGE.search(text) and "</html>" not in text.casefold():
        return "A page of HTML is begun and not ended."
    if _BARE_ITEM.match(text.rstrip().rsplit("\n", 1)[-1]) and "\n" in text:
        return "The last item of a list is empty."
    if text.lstrip()[:1] in ("{", "[") and _has_open_bracket(text):
        return "Brackets are opened and not closed."
    return _why_sentence_cut_off(text, packs)


def _why_sentence_cut_off(text: str, packs: list[str]) -> str:
    last_character = text.rstrip()[-1]
    if len(text) < 40 or _SENTENCE_END.search(text) or not (last_character.isalnum() or last_character in ",–—"):
        return ""
    last_line = _ITEM.sub("", text.rstrip().rsplit("\n", 1)[-1])[-400:]
    words = _WORDS.findall(last_line)
    if not words or not words[-1][-1].isalpha() or _TAIL.search(last_line) or _CODELIKE.search(last_line):
        return ""
    if _is_list_of_lines(text):
        return ""
    if len(words) >= 3 and words[-1].islower() and _search_packs(packs, "cut-words", last_line):
        return f"The answer ends in {words[-1]!r}, which ends no sentence."
    lower_share = sum(word[0].islower() for word in words) / len(words)
    sentence_count = len(re.findall(r"[.!?](?:\s|\Z)", text))
    if len(words) >= 6 and lower_share >= 0.7 and len(text) >= 400 and sentence_count >= 2:
        return "The last sentence has no end."
    return ""


def _has_open_bracket(text: str) -> bool:
    """Is it JSON with more opened than closed brackets, outside of strings?"""
    body = re.sub(r'"(?:[^"\\\\]|\\\\.)*"', "", text)
    return body.count("{") + body.count("[") > body.count("}") + body.count("]") and '"' in text


def _is_list_of_lines(text: str) -> bool:
    """Is it a poem, a list or a table? Most of its lines have no full stop, so that the last line needs none."""
    lines = [line for line in text.splitlines() if line.strip()]
    return len(lines) >= 4 and sum(bool(re.search(r"[.!?…:;]\s*\Z", line)) for line in lines) < len(lines) / 2


def _check_repetition(text: str, where: str) -> Iterator[Note]:
    """Yield a note if a text repeats its lines or phrases (Gopher's rules, arXiv 2112.11446, table A1)."""
    lines = [line.strip() for line in text[:100_000].splitlines() if len(_WORDS.findall(line)) >= 3]
    duplicate_count = len(lines) - len(set(lines))
    if len(lines) >= 6 and len(set(lines)) < 0.7 * len(lines):
        verb = choose_form(duplicate_count, "is a copy", "are copies")
        why = f"{duplicate_count} of {len(lines)} lines {verb} of others."
        yield Note("repetition", where, excerpt(text), why)
        return
    if len(text) < 200 or len(text) / len(zlib.compress(text[:20_000].encode("utf-8", "replace"))) < 2.2:
        return  # a text that does not compress well does not repeat itself; this saves the slow count
    if _CODELIKE.search(text) and text.count('"') + text.count("<") + text.count("|") > len(text) / 60:
        return  # code, tables and pages repeat themselves for good reasons
    if why := _why_repetitive(text.casefold().split()[:4000]):
        yield Note("repetition", where, excerpt(text), why)


def _why_repetitive(words: list[str]) -> str:
    """Return the phrase of two to four words that makes up too much of the text, or an empty string."""
    for size, max_share in ((4, 0.16), (3, 0.18), (2, 0.20)):
        if len(words) < 10 * size:
            continue
        counts = Counter(zip(*(words[start:] for start in range(size))))
        gram, count = max(counts.items(), key=lambda item: item[1] * len(" ".join(item[0])))
        phrase = " ".join(gram)
        share = count * len(phrase) / len(" ".join(words))
        if count > 2 and share > max_share and any(char.isalpha() for char in phrase):
            return f"{phrase!r} comes {count} times and is {min(share, 1):.0%} of the text."
    return ""


def _check_language(answer: str, question: str, lang: str | None, where: str) -> Iterator[Note]:
    """Yield a note if the answer is in another language than the row states or the question has.

    A question that asks for a translation or names a language is skipped.
    """
    if any(pack["translation"].search(question) for pack in PACKS.values()) or _LANGUAGE_NAME.search(question):
        return
    answer_language = language.detect(answer) if len(answer) >= 60 else None
    if answer_language is None:
        return
    expected_language = language.base_code(lang) or (language.detect(question) if len(question) >= 40 else None)
    if expected_language and expected_language != answer_language:
        why = f"The answer is {answer_language}, the question {expected_language} ({language.NAME})."
        yield Note("wrong-language", where, excerpt(answer), why)

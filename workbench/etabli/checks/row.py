"""Everything that is asked of one record, and of a chunk of them: a plain function, so that any process can do it."""

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import repeat
from pathlib import Path
from typing import Any

from etabli.checks import characters, cost, language, meaning, safety
from etabli.checks import custom_rules as own
from etabli.checks.cost import Cost
from etabli.checks.custom_rules import Rule
from etabli.checks.rules import PACKS
from etabli.checks.store import Pair
from etabli.core import trust
from etabli.core.contracts import Finding, Row
from etabli.core.errors import BadInput
from etabli.core.secrets import hidden
from etabli.data.catalogue import CODES
from etabli.data.licences import NON_COMMERCIAL, RESTRICTED
from etabli.data.notes import Note, escaped
from etabli.data.reading import formats
from etabli.data.reading.formats import FORMATS
from etabli.data.reading.jsonfiles import BROKEN, Record, parsed
from etabli.data.reading.layout import Layout
from etabli.data.reading.source import conversation
from etabli.rendering import template

UNTOLD = "not told"  # too short, or its question and answer seem to be in two languages
FEW = 50  # values of a lineage field that are counted; a column of ids is none
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class Settings:
    """How rows are to be looked at. Everything here can go to another process."""

    layout: Layout
    about: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    tokenizer: Path | None = None  # its folder
    max_length: int = 512
    policy: str = "answers"
    rules_file: tuple[str, str] | None = None  # path and hash: a file that was mended is read again
    rules: tuple[Rule, ...] = ()

    def own(self) -> Sequence[Rule]:
        """The person's own rules."""
        return _rules(*self.rules_file) if self.rules_file else self.rules


@dataclass
class Seen:
    """What came of some records."""

    rows: int = 0
    read: int = 0  # rows that are conversations
    findings: list[Finding] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)
    languages: Counter = field(default_factory=Counter)
    without_rules: Counter = field(default_factory=Counter)  # languages of answers that no rule pack looked at
    lineage: dict[str, Counter] = field(default_factory=dict)
    unused: Counter = field(default_factory=Counter)


@lru_cache(maxsize=4)
def _rules(path: str, digest: str) -> tuple[Rule, ...]:
    """The rules of a file that the person named, whose sha256 was taken when the check began."""
    code = trust.read_code(path, "rules")
    if code.sha256 != digest:
        raise BadInput(f"{path} was changed while the check went on: check again.")
    return tuple(own.rules_of(code))


@cache
def _tokenizer(folder: Path) -> tuple[Any, re.Pattern]:
    from etabli.models.counting import CountingTokenizer

    made = CountingTokenizer(folder)
    return made, characters.control_pattern(tuple(name for name in made.added if name.strip() and len(name) > 2))


_FAMILIES = characters.control_pattern()


def check_records(records: Sequence[Record], settings: Settings) -> Seen:
    """Look at some records in every way that needs no other record."""
    seen = Seen()
    read = [_read(record, settings, seen) for record in map(parsed, records)]
    rows = (row for _, row, _ in read if row is not None)
    texts = template.render_ahead(rows, _tokenizer(settings.tokenizer)[0]) if settings.tokenizer else repeat(None)
    for record, row, notes in read:
        findings = [_finding(note, record) for note in notes]
        if row is not None:
            findings += _row(row, record, settings, seen, {finding.code for finding in findings}, next(texts))
        elif record.value is not BROKEN and not findings and not FORMATS[settings.layout.name].refused:
            findings.append(_finding(Note("no-messages"), record))
        seen.findings += findings
    return seen


def _read(record: Record, settings: Settings, seen: Seen) -> tuple[Record, Row | None, list[Note]]:
    """A record with the conversation it holds, if it holds one, and what was noticed."""
    seen.rows += record.row is not None
    if FORMATS[settings.layout.name].refused:
        return record, None, list(record.notes)
    seen.unused.update(formats.unused(record.value, settings.layout))
    return record, *conversation(record, settings.layout, settings.about)


def _row(
    row: Row, record: Record, settings: Settings, seen: Seen, wrong: set[str], texts: list[str] | None
) -> list[Finding]:
    """What is doubtful about a conversation; what it asks, costs and comes from goes into ``seen``."""
    tokenizer, control = _tokenizer(settings.tokenizer) if settings.tokenizer else (None, _FAMILIES)
    lang = told_language(row)
    seen.read += 1
    seen.languages[lang or UNTOLD] += 1
    _count_lineage(row, seen)
    packs = _packs(row, lang, seen)
    notes = [*_of_texts(row, lang, control), *meaning.check(row["messages"], row.get("lang"), packs)]
    if tokenizer and _usable({*wrong, *(note.code for note in notes)}):
        notes += cost.check(row, tokenizer, settings.max_length, settings.policy, seen.cost, texts)
    if _NOTHING_SAID.isdisjoint(wrong):
        seen.pairs.append(_pair(row, record))
    own_findings = [found for rule in settings.own() for found in rule.findings(row, record.row, record.line)]
    return [_finding(note, record) for note in notes] + own_findings


_NOTHING_SAID = frozenset({"empty-answer", "empty-prompt", "no-assistant"})


def _usable(codes: set[str]) -> bool:
    """Can a row with these findings be trained at all? A secret does not keep it from being counted."""
    return not any(CODES[code].severity == "error" for code in codes - {"secret"})


def _packs(row: Row, lang: str | None, seen: Seen) -> list[str]:
    """The rule packs for its last answer: of its language; all, if that can't be told; none is counted as such."""
    answered = language.sure(row["messages"][-1]["content"]) or (lang if row.get("lang") else None)
    if answered is None:
        return list(PACKS)
    if answered in PACKS:
        return [answered]
    seen.without_rules[answered] += 1
    return []


def _of_texts(row: Row, lang: str | None, control: re.Pattern) -> Iterator[Note]:
    """What characters, personal data, secrets and word lists have to say of every text."""
    for where, text in _texts(row):
        yield from characters.check(text, where, control)
        yield from safety.check(text, where, lang)
        yield from safety.toxicity(text, where, lang)


def _texts(row: Row) -> Iterator[tuple[str, str]]:
    """Everything in a row that somebody wrote: contents, and calls and tools as JSON."""
    for number, message in enumerate(row["messages"]):
        yield f"messages[{number}].content", message["content"]
        if message.get("tool_calls"):
            yield f"messages[{number}].tool_calls", _written(message["tool_calls"])
        if message.get("name"):
            yield f"messages[{number}].name", message["name"]
    if row.get("tools"):
        yield "tools", _written(row["tools"])


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str).replace("\\u0000", "\0")


def told_language(row: Row) -> str | None:
    """The language a row says, else the one its last question and answer agree on; None if that can't be told."""
    said = language.base(row.get("lang"))
    if said:
        return said
    texts = {message["role"]: message["content"] for message in row["messages"] if message["role"] != "system"}
    told = {found for text in texts.values() if (found := language.sure(text))}
    return told.pop() if len(told) == 1 else None


def _finding(note: Note, record: Record) -> Finding:
    code = CODES[note.code]
    return Finding(
        code.severity, note.code, record.row, record.line, note.field, note.excerpt, note.why or code.why, code.fix
    )


def _count_lineage(row: Row, seen: Seen) -> None:
    """Count where rows come from."""
    for name in ("licence", "source", "terms", "generator"):
        few(seen.lineage.setdefault(name, Counter()), escaped(str(row.get(name) or "unknown"))[:200])


def few(counter: Counter, value: str, count: int = 1) -> None:
    """Count, but not more values than a person reads."""
    counter[value if value in counter or len(counter) < FEW else "others"] += count


def restrictions(lineage: Mapping[str, Mapping[str, int]]) -> list[Note]:
    """What licences and terms say of the file as a whole."""
    notes = []
    licences = {name: n for name, n in lineage.get("licence", {}).items() if name != "unknown"}
    if unknown := lineage.get("licence", {}).get("unknown"):
        notes.append(
            Note(
                "licence-unknown",
                "licence",
                why=f"{unknown} rows: neither they nor the command say under which licence they are.",
            )
        )
    for name, count in licences.items():
        if NON_COMMERCIAL.search(name):
            notes.append(Note("licence-non-commercial", "licence", name, f"{count} rows are under {name}."))
    terms = {said: count for said, count in lineage.get("terms", {}).items() if RESTRICTED.search(said)}
    return notes + [
        Note("terms-restrict", "terms", said[:80], f"{count} rows: {said}.") for said, count in terms.items()
    ]


def _pair(row: Row, record: Record) -> Pair:
    messages = row["messages"]
    last = max(
        (number for number, message in enumerate(messages) if message["role"] in ("assistant", "text")), default=0
    )
    asked = "\n".join(f"{message['role']}: {_same(message['content'])}" for message in messages[:last])
    answer = _same(messages[last]["content"]) + repr(messages[last].get("tool_calls") or "")
    if not asked:  # plain text answers nothing: only whole copies count
        asked = answer
    heads = [message["content"] for message in messages[:last] if message["role"] == "user"] or [
        messages[last]["content"]
    ]
    return Pair(_digest(asked), _digest(answer), record.row, record.line, escaped(hidden(heads[-1][:360])[:60]))


def _same(text: str) -> str:
    """Text without what makes no difference to a reader."""
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()

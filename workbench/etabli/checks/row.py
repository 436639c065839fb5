"""Check one record, or a chunk of records: plain functions, so that any process can run them."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import repeat
from pathlib import Path

from etabli.checks import characters, cost, custom_rules, language, meaning, safety
from etabli.checks.cost import Cost
from etabli.checks.custom_rules import Rule
from etabli.checks.rules import PACKS
from etabli.checks.store import QuestionAnswer
from etabli.core import trust
from etabli.core.contracts import Finding, Row
from etabli.core.errors import BadInput
from etabli.core.secrets import cover_secrets
from etabli.core.texts import fold
from etabli.core.wording import count_of
from etabli.data.catalogue import CODES
from etabli.data.licences import NON_COMMERCIAL, RESTRICTIVE_TERMS
from etabli.data.notes import Note, escape_invisible
from etabli.data.reading.formats import FORMATS, unused_columns
from etabli.data.reading.jsonfiles import BROKEN, Record, parse_record
from etabli.data.reading.layout import Layout
from etabli.data.reading.source import read_conversation
from etabli.rendering.render import Renderer

UNKNOWN_LANGUAGE = "not told"  # texts too short, or question and answer in two languages
MAX_COUNTED_VALUES = 50  # of a lineage field, such as its sources; the rest are counted as "others"
LINEAGE_FIELDS = ("licence", "source", "terms", "generator")
INCOMPLETE_CODES = frozenset({"empty-answer", "empty-prompt", "no-assistant"})


@dataclass(frozen=True)
class Settings:
    """How rows are checked. It can be pickled and sent to another process, unless it has ``rules``."""

    layout: Layout
    about: Mapping[str, object] = field(default_factory=dict)
    model: str | None = None
    tokenizer: Path | None = None  # its folder
    max_length: int = 512  # tokens
    policy: str = "answers"
    rules_file: tuple[str, str] | None = None  # path and sha256, so that a changed file is read again
    rules: tuple[Rule, ...] = ()
    template: str | None = None  # the chat template of a base model: its name, or its text

    def own_rules(self) -> Sequence[Rule]:
        """Return the user's own rules."""
        return _load_rules_file(*self.rules_file) if self.rules_file else self.rules


@dataclass
class CheckedRows:
    """The results of some records."""

    rows: int = 0
    conversations: int = 0  # rows that could be read
    thoughts: int = 0  # rows with a thought before an answer
    findings: list[Finding] = field(default_factory=list)
    pairs: list[QuestionAnswer] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)
    languages: Counter[str] = field(default_factory=Counter)
    languages_without_rules: Counter[str] = field(default_factory=Counter)  # of answers that no rule pack checked
    lineage: dict[str, Counter[str]] = field(default_factory=dict)
    unused_columns: Counter[str] = field(default_factory=Counter)

    def add(self, other: "CheckedRows") -> None:
        """Add the counts of other records; findings and pairs go to the store instead."""
        self.rows += other.rows
        self.conversations += other.conversations
        self.thoughts += other.thoughts
        self.cost.add(other.cost)
        self.languages.update(other.languages)
        self.languages_without_rules.update(other.languages_without_rules)
        for name, count in other.unused_columns.items():
            count_value(self.unused_columns, name, count)
        for name, counts in other.lineage.items():
            for value, count in counts.items():
                count_value(self.lineage.setdefault(name, Counter()), value, count)


@lru_cache(maxsize=4)
def _load_rules_file(path: str, sha256: str) -> tuple[Rule, ...]:
    """Return the rules of a file that the user named, if it is the same as when the check started."""
    code = trust.read_code(path, "rules")
    if code.sha256 != sha256:
        raise BadInput(f"{path} was changed while the check went on: check again.")
    return tuple(custom_rules.load_rules_file(code))


@cache
def _load_renderer(folder: Path, chat_template: str | None) -> tuple[Renderer, re.Pattern[str]]:
    """Return the tokenizer's renderer, and a pattern of its control tokens with those of common model families."""
    from etabli.models.chat_templates import set_template
    from etabli.models.counting import CountingTokenizer

    tokenizer = CountingTokenizer(folder)
    if chat_template is not None:
        set_template(tokenizer, chat_template)
    renderer = Renderer(tokenizer)
    names = tuple(name for name in renderer.added_vocab if name.strip() and len(name) > 2)
    return renderer, characters.control_pattern(names)


_COMMON_CONTROL_TOKENS = characters.control_pattern()


def check_records(records: Sequence[Record], settings: Settings) -> CheckedRows:
    """Run every check on some records that needs no other record."""
    results = CheckedRows()
    readings = [_read_record(record, settings, results) for record in map(parse_record, records)]
    rows = (row for _, row, _ in readings if row is not None)
    renderer = _load_renderer(settings.tokenizer, settings.template)[0] if settings.tokenizer else None
    rendered_texts = renderer.render_texts(rows) if renderer else repeat(None)
    for record, row, notes in readings:
        findings = [_finding(note, record) for note in notes]
        if row is not None:
            codes = {finding.code for finding in findings}
            findings += _check_row(row, record, settings, results, codes, next(rendered_texts))
        elif record.value is not BROKEN and not findings and not FORMATS[settings.layout.name].refused:
            findings.append(_finding(Note("no-messages"), record))
        results.findings += findings
    return results


def _read_record(record: Record, settings: Settings, results: CheckedRows) -> tuple[Record, Row | None, Sequence[Note]]:
    """Return a record with its conversation, if it has one, and the notes from reading it."""
    results.rows += record.row is not None
    if FORMATS[settings.layout.name].refused:
        return record, None, record.notes
    results.unused_columns.update(unused_columns(record.value, settings.layout))
    row, notes = read_conversation(record, settings.layout, settings.about)
    return record, row, notes


def _check_row(
    row: Row,
    record: Record,
    settings: Settings,
    results: CheckedRows,
    reading_codes: set[str],
    rendered_text: str | None,
) -> list[Finding]:
    """Return the findings of one conversation; its counts go into ``results``."""
    lang = detect_row_language(row)
    results.conversations += 1
    results.thoughts += any(message.get("reasoning") for message in row["messages"])
    results.languages[lang or UNKNOWN_LANGUAGE] += 1
    for name in LINEAGE_FIELDS:
        value = escape_invisible(str(dict(row).get(name) or "unknown"))[:200]
        count_value(results.lineage.setdefault(name, Counter()), value)
    renderer = _load_renderer(settings.tokenizer, settings.template)[0] if settings.tokenizer else None
    notes = _check_content(row, lang, settings, results)
    if renderer and _is_trainable({*reading_codes, *(note.code for note in notes)}):
        notes += cost.check(row, renderer, settings.max_length, settings.policy, results.cost, rendered_text)
    if record.row is not None and INCOMPLETE_CODES.isdisjoint(reading_codes):
        results.pairs.append(_question_answer(row, record.row, record.line))
    findings = [_finding(note, record) for note in notes]
    return findings + [
        finding for rule in settings.own_rules() for finding in rule.findings(row, record.row, record.line)
    ]


def _check_content(row: Row, lang: str | None, settings: Settings, results: CheckedRows) -> list[Note]:
    """Return the notes on characters, safety and meaning of a conversation."""
    folder = settings.tokenizer
    control_tokens = _load_renderer(folder, settings.template)[1] if folder else _COMMON_CONTROL_TOKENS
    packs = _choose_packs(row, lang, results)
    return [*_check_texts(row, lang, control_tokens), *meaning.check(row["messages"], row.get("lang"), packs)]


def check_again(record: Record, settings: Settings) -> tuple[Row | None, list[Note]]:
    """Return the conversation of one parsed record (None if it can't be read), and the notes on its form and texts."""
    results = CheckedRows()
    _, row, notes = _read_record(record, settings, results)
    if row is None:
        return None, list(notes)
    return row, [*notes, *_check_content(row, detect_row_language(row), settings, results)]


def _is_trainable(codes: set[str]) -> bool:
    """Can a row with these findings be trained, and so be counted? A secret does not prevent it."""
    return not any(CODES[code].severity == "error" for code in codes - {"secret"})


def _choose_packs(row: Row, lang: str | None, results: CheckedRows) -> list[str]:
    """Return the rule packs for the last answer: of its language; all, if the language is unknown.

    A language without a pack is counted, for the report to say so.
    """
    answer_language = language.detect(row["messages"][-1]["content"]) or (lang if row.get("lang") else None)
    if answer_language is None:
        return list(PACKS)
    if answer_language in PACKS:
        return [answer_language]
    results.languages_without_rules[answer_language] += 1
    return []


def _check_texts(row: Row, lang: str | None, control_tokens: re.Pattern[str]) -> Iterator[Note]:
    """Check the characters, personal data and secrets of every text."""
    for where, text in _row_texts(row):
        yield from characters.check(text, where, control_tokens)
        yield from safety.check(text, where, lang)


def _row_texts(row: Row) -> Iterator[tuple[str, str]]:
    """Yield (place, text) for everything in a row that somebody wrote; tool calls and tools as JSON."""
    for number, message in enumerate(row["messages"]):
        yield f"messages[{number}].content", message["content"]
        if message.get("reasoning"):
            yield f"messages[{number}].reasoning", message["reasoning"]
        if message.get("tool_calls"):
            yield f"messages[{number}].tool_calls", _to_json(message["tool_calls"])
        if message.get("name"):
            yield f"messages[{number}].name", message["name"]
    if row.get("tools"):
        yield "tools", _to_json(row["tools"])


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str).replace("\\u0000", "\0")


def detect_row_language(row: Row) -> str | None:
    """Return the language that a row states, else that of its last question and answer; None if they differ."""
    stated_language = language.base_code(row.get("lang"))
    if stated_language:
        return stated_language
    last_texts = {message["role"]: message["content"] for message in row["messages"] if message["role"] != "system"}
    languages = {lang for text in last_texts.values() if (lang := language.detect(text))}
    return languages.pop() if len(languages) == 1 else None


def _finding(note: Note, record: Record) -> Finding:
    code = CODES[note.code]
    why = f"{record.file}: {note.why or code.why}" if record.file else note.why or code.why
    return Finding(code.severity, note.code, record.row, record.line, note.field, note.excerpt, why, code.fix)


def count_value(counter: Counter[str], value: str, count: int = 1) -> None:
    """Count a value; after ``MAX_COUNTED_VALUES`` different values, new ones are counted as ``others``."""
    counter[value if value in counter or len(counter) < MAX_COUNTED_VALUES else "others"] += count


def licence_notes(lineage: Mapping[str, Mapping[str, int]]) -> list[Note]:
    """Return the notes on licences and terms of the file as a whole."""
    notes = []
    licences = dict(lineage.get("licence", {}))
    if unknown_count := licences.pop("unknown", 0):
        why = f"{count_of(unknown_count, 'row')} without a licence: neither the data nor the command names one."
        notes.append(Note("licence-unknown", "licence", why=why))
    for name, count in licences.items():
        if NON_COMMERCIAL.search(name):
            notes.append(
                Note(
                    "licence-non-commercial", "licence", name, f"{count_of(count, 'row is', 'rows are')} under {name}."
                )
            )
    for terms, count in lineage.get("terms", {}).items():
        if RESTRICTIVE_TERMS.search(terms):
            notes.append(Note("terms-restrict", "terms", terms[:80], f"{count_of(count, 'row')}: {terms}."))
    return notes


def _question_answer(row: Row, number: int, line: int | None) -> QuestionAnswer:
    """Return the hashes of a row's question and last answer; for plain text both are of the text."""
    messages = row["messages"]
    answer_places = [place for place, message in enumerate(messages) if message["role"] in ("assistant", "text")]
    last = answer_places[-1] if answer_places else 0
    question = "\n".join(f"{message['role']}: {fold(message['content'])}" for message in messages[:last])
    answer = fold(messages[last]["content"]) + repr(messages[last].get("tool_calls") or "")
    user_messages = [message for message in messages[:last] if message["role"] == "user"]
    shown_text = (user_messages or [messages[last]])[-1]["content"]
    head = escape_invisible(cover_secrets(shown_text[:360])[:60])
    return QuestionAnswer(_digest(question or answer), _digest(answer), number, line, head)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()

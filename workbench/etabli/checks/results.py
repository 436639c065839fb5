"""``CheckResults``: the findings of a check, counted and grouped, with what was and was not looked at."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from etabli.checks import language, safety
from etabli.checks.row import UNKNOWN_LANGUAGE, CheckedRows, Settings
from etabli.checks.row_texts import RowReader
from etabli.checks.rules import PACKS
from etabli.checks.store import Store
from etabli.core.contracts import CheckInfo, FileFormat, Finding, NotRun, TrainingCost
from etabli.core.errors import Unreadable
from etabli.core.wording import count_of
from etabli.data.catalogue import CODES
from etabli.data.notes import Note, escape_invisible

if TYPE_CHECKING:
    import pandas as pd

_OWN_RULES_FIX = "Write a check of your own: @etabli.own_check, --rules FILE."


class CheckResults:
    """Findings of one source. ``code`` is the exit code: 0 clean; 1 an error or a warning; 2 the data is unreadable."""

    def __init__(self, name: str):
        self.name, self.rows, self.store = name, 0, Store()
        self.format: FileFormat = {"name": None, "reason": "", "columns": {}, "preview": []}
        self.cost: TrainingCost | None = None
        self.lineage: dict[str, dict[str, int]] = {}
        self.languages: dict[str, int] = {}
        self.not_run: list[NotRun] = []
        self.checks: list[CheckInfo] = []
        self.is_unreadable = False
        self.reader: RowReader | None = None  # reads rows again; None if the source could not be opened

    def add_note(self, note: Note, line: int | None, row: int | None = None) -> None:
        """Add a finding about the file as a whole, or about a row that stands for it."""
        code = CODES[note.code]
        why = note.why or code.why
        self.store.add([Finding(code.severity, note.code, row, line, note.field, note.excerpt, why, code.fix)])

    def add_unreadable(self, error: Unreadable) -> None:
        """Add the finding that no row can be read."""
        self.is_unreadable = True
        self.add_note(Note(error.code, why=escape_invisible(str(error))), error.line)

    @property
    def counts(self) -> dict[str, int]:
        """Findings of each code, worst first."""
        return self.store.counts()

    @property
    def code(self) -> int:
        """The exit code."""
        if self.is_unreadable:
            return 2
        return int(any(self.severity(code) != "info" for code in self.counts))

    def severity(self, code: str) -> str:
        """Return the severity of a code; for a user's own check, that of its first finding."""
        return CODES[code].severity if code in CODES else next(self.store.findings(code, 1)).severity

    def findings(self, code: str | None = None) -> Iterator[dict[str, object]]:
        """Yield findings as dicts with the fields of ``Finding``, in the order of the file: all, or those of a code."""
        return (finding._asdict() for finding in self.store.findings(code))

    @property
    def frame(self) -> "pd.DataFrame":
        """Every finding, as a pandas frame."""
        return self.of(None)

    def of(self, code: str | None) -> "pd.DataFrame":
        """Return the findings of one code, as a pandas frame."""
        import pandas as pd

        frame = pd.DataFrame(self.store.findings(code), columns=list(Finding._fields))
        return frame.astype({"row": "Int64", "line": "Int64"})

    def describe_checks(self, settings: Settings, total: CheckedRows) -> None:
        """Record which checks ran, and which did not."""
        checks: list[tuple[str, str | None, str | list[str]]] = [
            ("form", "own rules", "all"),
            ("meaning", f"own rule packs, {language.NAME}", sorted(PACKS)),
            ("safety", "python-stdnum, phonenumbers, own patterns", "all"),
            ("cost", settings.model, "all"),
        ]
        self.checks = [
            {"name": name, "by": tool, "languages": languages, "own": False} for name, tool, languages in checks
        ]
        self.checks += [
            {"name": rule.name, "by": "your own", "languages": "all", "own": True} for rule in settings.own_rules()
        ]
        if total.conversations:
            self.not_run += _checks_not_run(settings, total)

    def row_numbers(self, code: str) -> list[int]:
        """Return the numbers of the rows with a finding of this code, counted from 0, each once.

        >>> etabli.read("mails.csv", without=report.row_numbers("empty-answer"))  # doctest: +SKIP
        """
        return self.store.row_numbers(code)


def _checks_not_run(settings: Settings, total: CheckedRows) -> Iterator[NotRun]:
    """Yield the checks that did not look at all rows, with the reason and what to do."""
    if total.languages_without_rules:
        most_common = total.languages_without_rules.most_common(12)
        names = ", ".join(f"{lang} ({count_of(count, 'row')})" for lang, count in most_common)
        yield {
            "check": "refusal, ai-disclaimer, unseen-media, truncated-answer",
            "why": f"There are no rules for {names}.",
            "rows": total.languages_without_rules.total(),
            "fix": _OWN_RULES_FIX,
        }
    if total.thoughts:
        yield {
            "check": "duplicate-row, conflicting-answers, repetition, wrong-language, refusal, truncated-answer",
            "why": "They read what follows a thought; checks of form, characters, safety and cost read thoughts too.",
            "rows": total.thoughts,
            "fix": f"Read a sample. {_OWN_RULES_FIX}",
        }
    yield {
        "check": "toxicity",
        "why": "A list of words cannot tell an insult from a quotation: its ten hits on real data were ten wrong ones.",
        "rows": total.conversations,
        "fix": f"Read a sample. {_OWN_RULES_FIX}",
    }
    yield {
        "check": "names of people",
        "why": "No check knows them without a language model of its own.",
        "rows": total.conversations,
        "fix": "Read a sample.",
    }
    foreign_count = sum(
        count for lang, count in total.languages.items() if lang not in (*safety.REGIONS, UNKNOWN_LANGUAGE)
    )
    if foreign_count:
        yield {
            "check": "pii-phone",
            "why": "Numbers without +country are looked for only in English (US, GB) and French (FR) rows.",
            "rows": foreign_count,
            "fix": "State the language in a column lang.",
        }
    if settings.model is None:
        yield {
            "check": "cost",
            "why": "No model is named, and the embedded one is not on this machine yet.",
            "rows": total.conversations,
            "fix": "--model default",
        }

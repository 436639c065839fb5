"""Checks and filters of your own: plain functions of a row, with a decorator, in a file or in a notebook.

    import etabli

    @etabli.own_check(severity="warning", fix="Write the number in digits.")
    def spelled_number(row):
        return "twelve" in row["messages"][-1]["content"]       # True, or a text that says why, is a finding

    @etabli.own_filter
    def short_enough(row):
        return len(row["messages"][-1]["content"]) < 2000       # what is not kept is not trained

``etabli data check FILE --rules mine.py`` reports both; ``rules: mine.py`` in a recipe applies the filters inside the
training child and freezes the file's hash, so that a resumed run is the same run.
"""

import copy
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etabli.core import trust
from etabli.core.contracts import SEVERITIES, Finding, Row
from etabli.core.errors import BadInput
from etabli.core.secrets import hidden
from etabli.core.trust import Code
from etabli.data.catalogue import CODES
from etabli.data.notes import escaped, excerpt

_MARK = "_etabli_rule"
RAISED = "rule-raised"


@dataclass(frozen=True)
class Rule:
    """A function of somebody's own. ``keep``: a filter, which says what stays; else a check, which says what is odd."""

    name: str
    function: Callable[[Row], Any]
    severity: str
    why: str
    fix: str
    keep: bool = False

    def findings(self, row: Row, number: int | None, line: int | None) -> list[Finding]:
        """What the function says of a row. One that raises is a finding too; the others go on."""
        try:
            said = self.function(copy.deepcopy(row))
            found = bool(said) != self.keep
        except (Exception, SystemExit) as error:
            why = f"Your {self.name} raised {type(error).__name__}: {hidden(escaped(str(error)))[:200]}"
            code = CODES[RAISED]
            return [Finding(code.severity, RAISED, number, line, "", excerpt(_last(row)), why, code.fix)]
        if not found:
            return []
        why = hidden(escaped(said))[:400] if isinstance(said, str) else self.why
        return [Finding(self.severity, self.name, number, line, "", excerpt(_last(row)), why, self.fix)]


def own_check(function: Callable | None = None, *, severity: str = "warning", why: str = "", fix: str = "") -> Callable:
    """Make a check of a function of a row: what it returns true for, or a text, is a finding.

    Raises:
        BadInput: an unknown severity, or a name that a built-in check has.
    """
    if severity not in SEVERITIES:
        raise BadInput(f"Unknown severity {severity!r}; there are {', '.join(SEVERITIES)}.")
    return _decorate(function, severity, why, fix, keep=False)


def own_filter(function: Callable | None = None, *, why: str = "", fix: str = "") -> Callable:
    """Make a filter of a function of a row: rows for which it returns false are not trained."""
    return _decorate(function, "info", why, fix or "Nothing to do, if that is what you want.", keep=True)


def _decorate(function: Callable | None, severity: str, why: str, fix: str, keep: bool) -> Callable:
    if function is None:
        return functools.partial(_decorate, severity=severity, why=why, fix=fix, keep=keep)
    name = function.__name__.replace("_", "-")
    if name in CODES:
        raise BadInput(f"{name} is the name of a built-in check: call the function otherwise.")
    said = why or (function.__doc__ or "").strip().split("\n")[0]
    said = said or (f"Left out by your filter {name}." if keep else f"Found by your check {name}.")
    setattr(function, _MARK, Rule(name, function, severity, said, fix or "Read the row.", keep))
    return function


def rules(source: str | Path | Callable | Iterable[Callable] | None) -> list[Rule]:
    """The rules of a file that this user said yes to, or of decorated functions.

    Raises:
        UntrustedCode: nobody said yes to the file; BadInput: no such file, or as ``rules_of``.
    """
    if source is None:
        return []
    if isinstance(source, str | Path):
        return rules_of(trust.trusted_code(source, "rules"))
    functions = [source] if callable(source) else list(source)
    bare = [getattr(function, "__name__", repr(function)) for function in functions if not hasattr(function, _MARK)]
    if bare:
        raise BadInput(f"{bare[0]} is not decorated: put @etabli.own_check or @etabli.own_filter above it.")
    return [getattr(function, _MARK) for function in functions]


def rules_of(code: Code) -> list[Rule]:
    """Run a file of rules, and return what is decorated in it.

    Raises:
        BadInput: a file that can't be run, nothing in it that is decorated, or two rules of one name.
    """
    module, path = code.run(), code.path
    found = [getattr(item, _MARK) for item in vars(module).values() if hasattr(item, _MARK)]
    names = [rule.name for rule in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise BadInput(f"{path} has two rules called {twice}: what they find could not be told apart.")
    if not found:
        raise BadInput(f"{path} has no function with @etabli.own_check or @etabli.own_filter above it.")
    return found


def keep(rows: list[Row], applied: list[Rule]) -> tuple[list[Row], dict[str, int]]:
    """The rows that every filter keeps, and how many each filter or check found.

    Raises:
        BadInput: a filter raised: what it would have said is not known.
    """
    counts = {rule.name: 0 for rule in applied}
    kept = []
    for number, row in enumerate(rows):
        found = {rule: rule.findings(row, number, None) for rule in applied}
        for rule, findings in found.items():
            counts[rule.name] += bool(findings)
            if rule.keep and findings and findings[0].code == RAISED:
                raise BadInput(f"row {number} ({row['id']}): {findings[0].why}")
        if not any(findings for rule, findings in found.items() if rule.keep):
            kept.append(row)
    return kept, counts


def _last(row: Row) -> str:
    return row["messages"][-1]["content"] if row.get("messages") else ""

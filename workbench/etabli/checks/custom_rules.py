"""Your own checks and filters: plain functions of a row with a decorator, in a file or in a notebook.

    import etabli

    @etabli.own_check(severity="warning", fix="Write the number in digits.")
    def spelled_number(row):
        return "twelve" in row["messages"][-1]["content"]       # True, or a text that says why, is a finding

    @etabli.own_filter
    def short_enough(row):
        return len(row["messages"][-1]["content"]) < 2000       # rows for which it is false are not trained

``etabli data check FILE --rules mine.py`` reports both. ``rules: mine.py`` in a recipe applies the filters in the
training process, and freezes the file's hash, so that a resumed run is the same run.
"""

import copy
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, overload

from etabli.core import trust
from etabli.core.contracts import SEVERITIES, Finding, Row
from etabli.core.errors import BadInput
from etabli.core.secrets import cover_secrets
from etabli.core.trust import Code
from etabli.data.catalogue import CODES
from etabli.data.notes import escape_invisible, excerpt

_ATTRIBUTE = "_etabli_rule"  # of a decorated function: its Rule
RAISED = "rule-raised"

RowFunction = Callable[[Row], object]
Function = TypeVar("Function", bound=RowFunction)


@dataclass(frozen=True)
class Rule:
    """A user's own function. A filter returns true for rows that stay; a check returns true for rows with a problem."""

    name: str
    function: RowFunction
    severity: str
    why: str
    fix: str
    is_filter: bool = False

    def findings(self, row: Row, number: int | None, line: int | None) -> list[Finding]:
        """Return the function's findings about a row. An exception is a finding too; other rules go on."""
        shown_text = excerpt(row["messages"][-1]["content"] if row.get("messages") else "")
        try:
            answer = self.function(copy.deepcopy(row))
            is_finding = bool(answer) != self.is_filter
        except (Exception, SystemExit) as error:
            message = cover_secrets(escape_invisible(str(error)))[:200]
            why = f"Your {self.name} raised {type(error).__name__}: {message}"
            return [Finding(CODES[RAISED].severity, RAISED, number, line, "", shown_text, why, CODES[RAISED].fix)]
        if not is_finding:
            return []
        why = cover_secrets(escape_invisible(answer))[:400] if isinstance(answer, str) else self.why
        return [Finding(self.severity, self.name, number, line, "", shown_text, why, self.fix)]


@overload
def own_check(function: Function, *, severity: str = ..., why: str = ..., fix: str = ...) -> Function: ...
@overload
def own_check(
    function: None = None, *, severity: str = ..., why: str = ..., fix: str = ...
) -> Callable[[Function], Function]: ...
def own_check(
    function: Function | None = None, *, severity: str = "warning", why: str = "", fix: str = ""
) -> Function | Callable[[Function], Function]:
    """Decorate a function of a row as a check: true, or a text that says why, is a finding.

    Raises:
        BadInput: the severity is unknown, or a built-in check has the function's name.
    """
    if severity not in SEVERITIES:
        raise BadInput(f"Unknown severity {severity!r}; there are {', '.join(SEVERITIES)}.")
    decorate = functools.partial(_attach_rule, severity=severity, why=why, fix=fix, is_filter=False)
    return decorate if function is None else decorate(function)


@overload
def own_filter(function: Function, *, why: str = ..., fix: str = ...) -> Function: ...
@overload
def own_filter(function: None = None, *, why: str = ..., fix: str = ...) -> Callable[[Function], Function]: ...
def own_filter(
    function: Function | None = None, *, why: str = "", fix: str = ""
) -> Function | Callable[[Function], Function]:
    """Decorate a function of a row as a filter: rows for which it returns false are not trained."""
    fix = fix or "Nothing to do, if that is what you want."
    decorate = functools.partial(_attach_rule, severity="info", why=why, fix=fix, is_filter=True)
    return decorate if function is None else decorate(function)


def _attach_rule(function: Function, severity: str, why: str, fix: str, is_filter: bool) -> Function:
    name = function.__name__.replace("_", "-")
    if name in CODES:
        raise BadInput(f"{name} is the name of a built-in check: give your function another name.")
    why = why or (function.__doc__ or "").strip().split("\n")[0]
    why = why or (f"Left out by your filter {name}." if is_filter else f"Found by your check {name}.")
    setattr(function, _ATTRIBUTE, Rule(name, function, severity, why, fix or "Read the row.", is_filter))
    return function


def load_rules(source: str | Path | RowFunction | Iterable[RowFunction] | None) -> list[Rule]:
    """Return the rules of a file that the user trusts, or of decorated functions.

    Raises:
        UntrustedCode: the user does not trust the file yet.
        BadInput: the file does not exist, or as ``load_rules_file``.
    """
    if source is None:
        return []
    if isinstance(source, str | Path):
        return load_rules_file(trust.trusted_code(source, "rules"))
    rules = []
    for function in [source] if callable(source) else source:
        if not hasattr(function, _ATTRIBUTE):
            name = getattr(function, "__name__", repr(function))
            raise BadInput(f"{name} is not decorated: put @etabli.own_check or @etabli.own_filter above it.")
        rules.append(getattr(function, _ATTRIBUTE))
    return rules


def load_rules_file(code: Code) -> list[Rule]:
    """Run a file of rules, and return the decorated functions in it.

    Raises:
        BadInput: the file cannot be run, has no decorated function, or has two rules with one name.
    """
    module, path = code.run(), code.path
    rules: list[Rule] = [getattr(item, _ATTRIBUTE) for item in vars(module).values() if hasattr(item, _ATTRIBUTE)]
    names = [rule.name for rule in rules]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"{path} has two rules called {name}: rename one, so that their findings can be told apart.")
    if not rules:
        raise BadInput(f"{path} has no function with @etabli.own_check or @etabli.own_filter above it.")
    return rules


def filter_rows(rows: list[Row], rules: list[Rule]) -> tuple[list[Row], dict[str, int]]:
    """Return the rows that every filter keeps, and how many rows each rule found.

    Raises:
        BadInput: a filter raised an exception, so that its answer is not known.
    """
    counts = {rule.name: 0 for rule in rules}
    kept_rows = []
    for number, row in enumerate(rows):
        findings = {rule: rule.findings(row, number, None) for rule in rules}
        for rule, rule_findings in findings.items():
            counts[rule.name] += bool(rule_findings)
            if rule.is_filter and rule_findings and rule_findings[0].code == RAISED:
                raise BadInput(f"row {number} ({row['id']}): {rule_findings[0].why}")
        if not any(rule_findings for rule, rule_findings in findings.items() if rule.is_filter):
            kept_rows.append(row)
    return kept_rows, counts

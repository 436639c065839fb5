"""``CheckReport``: what a check found in rows, worst first; a click on a finding opens its rows."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, style
from etabli_widgets.markup import Markup, details, element, fragment, table

Pick = Callable[[str, int], Mapping[str, Any]]
STEP = 25  # rows that one click opens
SEVERITIES = ("error", "warning", "info")
LABELS = {"error": "Errors", "warning": "Warnings", "info": "Info"}
HEADS = ("findings", "what was found", "code")


class CheckReport(Widget):
    """The findings of a check, counted and worst first. A click opens the rows, with the part that is meant marked.

    ``view`` is what ``etabli.checks.view.check_view`` makes of a report: ``name``, ``summary``, ``next``, ``groups``,
    ``looked_at``, ``sections``, ``preview``. ``pick`` gets a code and a number of rows, and returns what
    ``etabli.checks.view.pick_rows`` returns. ``look`` does what a click does.
    """

    _esm = script("check_report")
    _css = style("check_report")

    view = traitlets.Dict(help="What is shown: see etabli.checks.view.CheckView").tag(sync=True)
    severity = traitlets.Enum(("", *SEVERITIES), "", help="The only severity that is shown; empty: all").tag(sync=True)
    opened = traitlets.Dict(help="The open finding: see etabli.checks.view.OpenedGroup").tag(sync=True)

    def __init__(self, view: Mapping[str, Any], pick: Pick, **traits: Any):
        super().__init__(view=dict(view), **traits)
        self._pick = pick

    def look(self, code: str, most: int = STEP) -> list[dict[str, Any]]:
        """Open the first ``most`` rows of a finding, and return them."""
        known = [group["code"] for group in self.view["groups"]]
        if code not in known:
            choices = f"choose from {', '.join(known)}" if known else "there are no findings"
            raise ValueError(f"No finding has the code {code!r}; {choices}.")
        self.opened = dict(self._pick(code, most))
        rows: list[dict[str, Any]] = self.opened["rows"]
        return rows

    @message(code=str)
    def on_open(self, fields: dict[str, Any]) -> None:
        """Handle a click on a finding."""
        self.error = ""
        self.look(fields["code"])

    @message()
    def on_more(self, fields: dict[str, Any] | None = None) -> None:
        """Open more rows of the open finding."""
        if self.opened:
            self.look(self.opened["code"], len(self.opened["rows"]) + STEP)

    @message()
    def on_close(self, fields: dict[str, Any] | None = None) -> None:
        """Close the rows."""
        self.opened = {}

    def html(self) -> Markup:
        """Return the report as static HTML; each finding unfolds its first rows."""
        view = self.view
        return fragment(
            element("p", element("b", _isolate(view["name"])), ": ", _isolate(view["summary"])),
            element("p", self._count_findings()),
            element("p", view["next"], class_="etabli-next"),
            _heads() if view["groups"] else None,
            (self._section(severity) for severity in SEVERITIES),
            details("First rows, as they stand in the file", table((), ([_isolate(row)] for row in view["preview"]))),
            (_lines(title, lines, open=True) for title, lines in view["sections"]),
            _lines("Looked at", view["looked_at"], open=not view["groups"]),
        )

    def _section(self, severity: str) -> Markup | None:
        groups = [group for group in self.view["groups"] if group["severity"] == severity]
        label = element("p", LABELS[severity], class_=f"etabli-severity etabli-{severity}")
        return fragment(label, map(_group, groups)) if groups else None

    def _count_findings(self) -> str:
        counts: Counter[str] = Counter()
        for group in self.view["groups"]:
            counts[group["severity"]] += group["count"]
        named = [f"{counts[name]} {_plural(name, counts[name])}" for name in SEVERITIES if counts[name]]
        return ", ".join(named) or "Nothing found."

    def __repr__(self) -> str:
        lines = [f"  {group['severity']:<8}{group['code']} × {group['count']}" for group in self.view["groups"]]
        head = f"CheckReport: {self.view['name']}: {self.view['summary']}. {self._count_findings()}"
        return "\n".join([head, *lines])


def _plural(severity: str, count: int) -> str:
    return severity if count == 1 or severity == "info" else f"{severity}s"


def _isolate(text: str) -> Markup:
    """Return a text that may be of any script and does not set the direction of what stands beside it."""
    return element("span", text, dir="auto")  # nbconvert would take <bdi> away


def _lines(title: str, lines: list[str], open: bool) -> Markup | None:
    items = (element("li", _isolate(line)) for line in lines)
    return details(title, element("ul", items), open=open) if lines else None


def _heads() -> Markup:
    return element("div", (element("span", name) for name in HEADS), class_="etabli-finding etabli-heads")


def _group(group: dict[str, Any]) -> Markup:
    examples = group["examples"]
    code = element("code", _isolate(group["code"]))
    summary = [element("b", group["count"]), element("span", _isolate(group["why"])), code]
    more = group["count"] - len(examples)
    rows = ((example["place"], element("code", _isolate(example["text"]))) for example in examples)
    return details(
        element("span", summary, class_="etabli-finding"),
        element("p", "→ ", _isolate(group["fix"])),
        table((), rows),
        element("p", f"… and {more} more: ", element("code", f"report.of({group['code']!r})")) if more else None,
    )

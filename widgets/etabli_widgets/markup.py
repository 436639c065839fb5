"""HTML of the twins. Only ``element`` makes markup, and it escapes all values."""

import html
import json
import re
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

# What terms mean, for tooltips of live widgets and twins.
GLOSSARY: dict[str, str] = json.loads((Path(__file__).parent / "static" / "glossary.json").read_text(encoding="utf-8"))
VOID = {"hr"}  # elements without an end tag


def cover_secrets(value: Any, data: Collection[str] = ()) -> Any:
    """Return a text, or dicts and lists of texts, with secrets covered. Values under the keys ``data`` stay.

    ``etabli`` knows what is secret. This package does not import it: if nobody else has, nothing is covered.
    """
    scrub = sys.modules.get("etabli.core.secrets")
    return scrub.cover_secrets_in(value, data) if scrub else value


class Markup(str):
    """Text that is HTML already. Jinja's autoescaping leaves it as it is (``__html__``)."""

    __slots__ = ()

    def __html__(self) -> "Markup":
        return self


def element(name: str, *children: Any, **attributes: Any) -> Markup:
    """Return an HTML element.

    Args:
        name: the tag, written in the code.
        children: texts (escaped), elements, or iterables of both; None is left out.
        attributes: ``class_`` stands for class, ``data_role`` for data-role; None and False are left out, True has no
            value.
    """
    attribute_text = "".join(
        _attribute(key, value) for key, value in attributes.items() if value is not None and value is not False
    )
    end = "" if name in VOID else f"</{name}>"
    return Markup(f"<{name}{attribute_text}>{fragment(*children)}{end}")


def fragment(*children: Any) -> Markup:
    """Return the children of ``element`` without an element around them."""
    return Markup("".join(map(_child, children)))


_THOUGHT = re.compile(
    r"\s*(?:<(think|thinking|thoughts?|seed:think)>\s*(?:<\1>)*(?P<tagged>.*?)(?:(?:</\1>\s*)+|\Z)"
    r"|\[THINK\](?P<bracketed>.*?)(?:\[/THINK\]\s*|\Z))",
    re.DOTALL | re.IGNORECASE,
)


def answer(text: str) -> Markup:
    """Return an answer as code, with the thought before it folded."""
    match = _THOUGHT.match(text)
    thought = (match["tagged"] or match["bracketed"] or "").strip() if match else ""
    rest = element("code", text[match.end() :] if match else text)
    if not thought:
        return rest
    return fragment(element("details", element("summary", "Thought"), thought, class_="etabli-thought"), rest)


def cut_mark() -> Markup:
    """Return the mark of an answer that ended at its greatest length."""
    return element("span", term("cut"), class_="etabli-cut")


def _child(child: Any) -> str:
    if isinstance(child, Markup):
        return child
    if child is None:
        return ""
    if isinstance(child, Iterable) and not isinstance(child, str | bytes | dict):
        return fragment(*child)
    return html.escape(cover_secrets(str(child)))


def _attribute(key: str, value: Any) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(cover_secrets(str(value)))}"'


def term(name: str) -> Markup | str:
    """Return a term with its explanation as a tooltip; a name that the glossary has not stays as it is."""
    return element("abbr", name, title=GLOSSARY[name]) if name in GLOSSARY else name


def table(heads: Iterable[Any], rows: Iterable[Iterable[Any]]) -> Markup:
    """Return a table: a header line if there are heads, and a line for each row."""
    head = [element("tr", cells) for cells in [[element("th" if name else "td", name) for name in heads]] if cells]
    return element("table", head, (element("tr", (element("td", cell) for cell in row)) for row in rows))


def quantity(number: int, noun: str) -> str:
    """Return a number with its noun: "1 row", "12 rows"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def notes(texts: Iterable[Any]) -> Markup:
    """Return texts in small print, each as a paragraph."""
    return fragment(element("p", element("small", text)) for text in texts)


def details(summary: Any, *children: Any, **attributes: Any) -> Markup:
    """Return a summary that a click opens."""
    return element("details", element("summary", summary), *children, **attributes)

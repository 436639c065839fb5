"""HTML of the twins. Only ``element`` makes markup: it escapes all values, and writes out what a page would hide."""

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


_FOREIGN = "[\u0300-\u1fff\u2100-\ufefe\U00010000-\U0010ffff]"
_NOT_A_JOINER = (
    f"(?!(?<={_FOREIGN})[\u200c\u200d](?={_FOREIGN}))"  # between two signs that are not Latin joiners may stay
)
_UNSEEN = re.compile(
    _NOT_A_JOINER + "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)


def visible(text: str) -> str:
    """Return a text with control and invisible characters written out, as static/shared.js does."""
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


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


def answer(text: str, is_cut: bool = False) -> Markup:
    """Return an answer as code, with the thought before it folded, and the mark of a cut one behind it."""
    match = _THOUGHT.match(text)
    thought = (match["tagged"] or match["bracketed"] or "").strip() if match else ""
    rest = element("code", text[match.end() :] if match else text)
    if is_cut:
        rest = fragment(rest, " ", cut_mark())
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
    return html.escape(visible(cover_secrets(str(child))))


def _attribute(key: str, value: Any) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(visible(cover_secrets(str(value))))}"'


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

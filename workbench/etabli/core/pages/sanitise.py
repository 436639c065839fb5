"""Sanitise HTML of others (a cell's output, rendered Markdown): the result can neither run scripts nor load files."""

import functools
import re
from typing import TYPE_CHECKING

from etabli.core.pages import SafeHtml

if TYPE_CHECKING:
    from nbconvert.preprocessors.sanitize import SanitizeHTML

_STYLE = re.compile(r"<style\b[^>]*>(.*?)</style\s*>", re.IGNORECASE | re.DOTALL)
_TAGS = """
    a abbr b blockquote br code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i ins li ol p pre s section small span
    strong sub summary sup table tbody td tfoot th thead tr u ul svg polyline circle text
"""
TAGS = _TAGS.split()
OF_TWINS = ["data-fits", "data-less", "data-measured", "data-other", "data-part", "data-role", "data-trained"]
ATTRIBUTES = {
    "*": ["aria-hidden", "aria-label", "class", "dir", "role", "style", "title", *OF_TWINS],
    "a": ["href"],
    "details": ["open"],
    "td": ["colspan", "rowspan"],
    "th": ["colspan", "rowspan", "scope"],
    "svg": ["viewBox"],
    "polyline": ["points"],
    "circle": ["cx", "cy", "r"],
    "text": ["x", "y", "text-anchor"],
}
STYLES = ["--etabli-move", "background-color", "color", "font-weight", "left", "text-align", "text-decoration", "width"]


def split_styles(html: str) -> tuple[str, list[str]]:
    """Return the HTML without its style sheets, and a list of the style sheets."""
    return _STYLE.sub("", html), _STYLE.findall(html)


def sanitise_html(html: str) -> SafeHtml:
    """Return the HTML in which other tags than ``TAGS`` are shown as text, and other attributes are left out."""
    return SafeHtml(_sanitiser().sanitize_html_tags(html))


@functools.cache
def _sanitiser() -> "SanitizeHTML":
    from nbconvert.preprocessors.sanitize import SanitizeHTML

    return SanitizeHTML(tags=TAGS, attributes=ATTRIBUTES, styles=STYLES)

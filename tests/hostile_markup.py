"""Texts that run or fetch something wherever a page takes them for markup, and the pages that hold them.

``CODE`` in a text becomes a call that a test hears of, ``URL`` an address that no test may see asked for.
"""

import copy
import json

from etabli.core.contracts import EVENTS, RECIPE
from etabli.evaluation.aggregate import summarise
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run

HARMLESS = "plain"
TEXTS = {
    "script": "<script>CODE</script>",
    "script-case": "<ScRiPt>CODE</sCrIpT>",
    "script-src": "<script src=URL></script>",
    "script-slash": "<script/x>CODE</script>",
    "script-unclosed": "<script>CODE//",
    "script-module": "<script type=module>CODE</script>",
    "script-svg": "<svg><script>CODE</script></svg>",
    "script-nul": "<scr\0ipt>CODE</script>",
    "script-nested": "<scr<script>ipt>CODE</script>",
    "img-error": "<img src=x onerror=CODE>",
    "img-quoted": "<img src='x' onerror='CODE'>",
    "img-slashes": "<img/src=x/onerror=CODE>",
    "img-newline": "<img src=x\nonerror\n=\nCODE>",
    "img-src": "<img src=URL>",
    "img-srcset": "<img srcset='URL 1x'>",
    "picture": "<picture><source srcset=URL><img></picture>",
    "svg-load": "<svg onload=CODE>",
    "svg-animate": "<svg><animate onbegin=CODE attributeName=x dur=1s>",
    "svg-image": "<svg><image href=URL></svg>",
    "svg-use": "<svg><use href='URL#x'></svg>",
    "svg-foreign": "<svg><foreignObject><img src=x onerror=CODE></foreignObject></svg>",
    "svg-style": "<svg><style><img src=x onerror=CODE></style></svg>",
    "math": "<math><mtext><table><mglyph><style><!--</style><img title='--><img src=x onerror=CODE>'>",
    "noscript": "<noscript><p title='</noscript><img src=x onerror=CODE>'>",
    "iframe-srcdoc": "<iframe srcdoc='<script>parent.CODE</script>'></iframe>",
    "iframe-javascript": "<iframe src='javascript:parent.CODE'></iframe>",
    "iframe-src": "<iframe src=URL></iframe>",
    "object": "<object data=URL></object>",
    "embed": "<embed src=URL>",
    "video": "<video poster=URL src=URL autoplay></video>",
    "audio-error": "<audio src=x onerror=CODE></audio>",
    "input-focus": "<input autofocus onfocus=CODE>",
    "input-image": "<input type=image src=URL>",
    "details-toggle": "<details open ontoggle=CODE>",
    "body-load": "<body onload=CODE background=URL>",
    "marquee": "<marquee onstart=CODE>x</marquee>",
    "animation": "<style>@keyframes x{}</style><p style=animation-name:x onanimationstart=CODE>",
    "link-sheet": "<link rel=stylesheet href=URL>",
    "link-prefetch": "<link rel=prefetch href=URL><link rel=preload as=image href=URL>",
    "meta-refresh": "<meta http-equiv=refresh content='0;url=URL'>",
    "meta-policy": '<meta http-equiv=Content-Security-Policy content="default-src *"><script>CODE</script>',
    "base": "<base href=URL><img src=x>",
    "form": "<form action=URL><input autofocus onfocus=this.form.submit()></form>",
    "a-javascript": "<a href='javascript:CODE' autofocus onfocus=CODE>x</a>",
    "a-tab": "<a href='java\tscript:CODE'>x</a>",
    "a-data": "<a href='data:text/html,<script>CODE</script>' ping=URL>x</a>",
    "style-import": "<style>@import 'URL';</style>",
    "style-url": "<style>*{background:url(URL)}</style>",
    "style-attribute": "<p style='background:url(URL)'>x",
    "table": "<table background=URL><tr><td background=URL>x</table>",
    "end-quote": '"><script>CODE</script>',
    "end-apostrophe": "'><img src=x onerror=CODE>",
    "end-attribute": '" autofocus onfocus="CODE" x="',
    "end-style-attribute": 'red;background:url(URL)" onmouseover="CODE',
    "end-title": "</title><script>CODE</script>",
    "end-style": "</style><script>CODE</script>",
    "end-script": "</script><script>CODE</script>",
    "end-comment": "--><script>CODE</script><!--",
    "end-textarea": "</textarea></xmp></noscript><script>CODE</script>",
    "end-details": "</pre></details></table></div></main><script>CODE</script>",
    "plaintext": "<plaintext><xmp><textarea>",
    "entity": "&lt;script&gt;CODE&lt;/script&gt;",
    "entity-number": "&#60;img src=x onerror=CODE&#62;",
    "escape-json": "\\u003cscript\\u003eCODE\\u003c/script\\u003e",
    "template": "{{ CODE }}{% include 'x' %}{{ ''.__class__ }}${CODE}",
    "markdown": "![x](URL) [x](javascript:CODE) <URL>",
    "plotly": "<a href='javascript:CODE'>x</a><b>b</b><span style='background:url(URL)'>s</span>",
    "wide": "＜script＞CODE＜/script＞",
    "overlong": "\u202e<script>CODE</script>\u202c\ufeff",
    "terminal": "\x1b]8;;javascript:CODE\x07x\x1b]8;;\x07\x1b[31m<script>CODE</script>\x1b[0m",
}


def text(name: str) -> str:
    """A hostile text whose code and address name it."""
    return TEXTS[name].replace("CODE", f"hit('{name}')").replace("URL", f"http://attacker.invalid/{name}")


def planted(value, extra: str, keys: frozenset = frozenset()):
    """The JSON with a text after each of its texts, and after those keys that are the texts of others."""
    if isinstance(value, str):
        return value + extra
    if isinstance(value, list):
        return [planted(item, extra, keys) for item in value]
    if isinstance(value, dict):
        return {key + extra if key in keys else key: planted(item, extra, keys) for key, item in value.items()}
    return value


def leaves(value, path=()):
    """The path of every leaf of a JSON."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*path, key))
    else:
        yield path


def replaced(value, path, leaf):
    """The JSON with another leaf in one place."""
    value = copy.deepcopy(value)
    place = value
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = leaf
    return value


def answered(number, arms, right):
    """A row of an evaluation, answered by every arm."""
    said = {arm: f"answer of {arm}" for arm in arms}
    return {
        "id": f"r{number}",
        "lang": "en",
        "template": "t",
        "cluster": f"c{number}",
        "slices": ["en"],
        "row": {},
        "overlap": None,
        "prompt": f"question {number}",
        "truth": "truth",
        "rendered": dict(said),
        "answers": dict(said),
        "raw": dict(said),
        "correct": {},
        "weights": {},
        "values": {"exact": dict(zip(arms, right)), "length": dict.fromkeys(arms, number / 7)},
        "errors": {"exact": {arm: "ValueError: no JSON" for arm, value in zip(arms, right) if value is None}},
    }


def evaluation():
    """Results as ``results.json`` holds them, from rows made by hand."""
    arms = ["base", "prompted", "lookup", "tuned"]
    rows = [answered(number, arms, [False, number % 2 == 0, number % 3 == 0, number != 4]) for number in range(12)]
    rows[5]["values"]["exact"]["base"], rows[5]["errors"] = None, {"exact": {"base": "ValueError: no JSON"}}
    metrics = [
        {"name": "exact", "spec": "exact", "hash": "1f", "unit": "share", "better": "higher"},
        {"name": "length", "spec": "length", "hash": "2f", "unit": "number", "better": "higher"},
    ]
    made_with = {"template_hash": "abc", "versions": {"torch": "2.5"}, "adapters": {"tuned": "f0"}, "lengths": [1, 2]}
    about = {"version": 1, "seed": 0, "model": "a model", "data_hash": "0123456789abcdef", "made_with": made_with}
    return summarise(
        about
        | {
            "rows": rows,
            "arms": arms,
            "subject": "tuned",
            "rivals": arms[:3],
            "metrics": metrics,
            "warnings": ["few rows"],
        }
    )


def evaluation_with(extra: str):
    """Results in which every text ends in another, consistently: names of arms and scores are keys too."""
    results = evaluation()
    names = {*results["arms"], *results["made_with"], "torch", "exact", "length", "en"}
    return planted(results, extra, frozenset(names))


LOG = [
    {"kind": "start", "t": 0.0, "steps": 10, "probes": ["probe"], "versions": {"torch": "2.5"}},
    {"kind": "eval", "t": 1.0, "step": 0, "loss": 4.0, "by": {"en": 4.0}},
    *({"kind": "step", "t": 2.0 + step, "step": step, "loss": 4 / step, "tokens_per_s": 1e2} for step in range(1, 6)),
    {"kind": "sample", "t": 8.0, "step": 5, "probe": 0, "text": "answer"},
    {"kind": "end", "t": 9.0, "state": "failed", "why": "no room"},
]


def run_with(folder, extra: str) -> Run:
    """A run whose folder's name, probes, answers and state end in a text."""
    place = folder / f"run{extra}".replace("/", "∕").replace("\0", "0")[:120]
    Recipe(data="x.jsonl").save(place / RECIPE)
    lines = [{**planted(event, extra), "kind": event["kind"]} for event in LOG]
    (place / EVENTS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Run.attach(place)

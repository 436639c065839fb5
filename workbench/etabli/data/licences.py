"""Where rows come from, under which licence, and whether the answers come from a model whose terms restrict training.

Ancestry is told by names: a file, a Hub data set or a source that carries a known name. That is a hint, not a proof,
and is said as such; what the rows or the command say themselves goes before it.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from etabli.core.errors import BadInput

FIELDS = ("licence", "source", "terms", "generator", "lang")
OPENAI_TERMS = "OpenAI's terms forbid using its models' output to develop models that compete with them"
RESTRICTED = re.compile(r"(?i)forbid|must not|may not|not be used to train|restrict|interdi")

# name in a path or source -> what its publisher says. Stanford Alpaca: README and DATA_LICENSE of
# tatsu-lab/stanford_alpaca; Dolly: databricks-dolly-15k's card; OASST: OpenAssistant/oasst1's card.
# "alpaca" and "sharegpt" alone are names of formats too, so they tell nothing.
KNOWN: tuple[tuple[re.Pattern, dict[str, str]], ...] = tuple(
    (re.compile(pattern), facts)
    for pattern, facts in (
        (
            r"(stanford|tatsu-lab)[-_/]alpaca|(?<![\w-])alpaca[-_]?(data|en|zh|cleaned|gpt-?4|52k)",
            {"licence": "CC-BY-NC-4.0", "generator": "text-davinci-003 or gpt-4", "terms": OPENAI_TERMS},
        ),
        (r"sharegpt[-_](v\d|90k|vicuna|52k)|vicuna", {"generator": "gpt-3.5-turbo", "terms": OPENAI_TERMS}),
        (r"dolly[-_]15k", {"licence": "CC-BY-SA-3.0"}),
        (r"\boasst[12]\b", {"licence": "Apache-2.0"}),
        (r"zaragoza", {"licence": "CC-BY-4.0"}),
    )
)
_GENERATORS = (
    (re.compile(r"(?i)\b(gpt[- ]?[345]|chatgpt|(text-)?davinci|o[134](-\w+)?\b|openai(?!/gpt-oss))"), OPENAI_TERMS),
    (
        re.compile(r"(?i)\b(claude|anthropic)"),
        "Anthropic's terms forbid using its models' output to train competing models",
    ),
    (re.compile(r"(?i)\b(gemini|bard)\b"), "Google's terms forbid using Gemini's output to develop competing models"),
)
NON_COMMERCIAL = re.compile(
    r"(?i)(?<![a-z])nc(?![a-z])|non[-_ ]?commercial|no commercial|research[-_ ]only|pas d.utilisation commerciale"
)


def lineage(name: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """What can be told of a source: what was said, and by its name what was not.

    Raises:
        BadInput: something was said that is no part of a lineage.
    """
    unknown = [key for key in said if key not in FIELDS]
    if unknown:
        raise BadInput(f"Unknown argument {unknown[0]!r}; of the rows one can say {', '.join(FIELDS)}.")
    hinted = hints(name)
    stated = {key: str(said[key]) for key in FIELDS if said.get(key)}
    made = {"source": re.split(r"[\\/]", name)[-1], **hinted, **stated}
    if "generator" in stated and "terms" not in stated:
        made.pop("terms", None)  # what the name hinted at was of another generator
    return {key: value for key, value in made.items() if value}


@lru_cache(maxsize=1024)
def hints(name: str) -> Mapping[str, str]:
    """What a name that is known tells of rows."""
    said = name.replace("\\", "/").casefold()
    family = next((facts for pattern, facts in KNOWN if pattern.search(said)), {})
    return {key: f"{value} (by its name)" for key, value in family.items()}


def terms_of(generator: str) -> str | None:
    """What the maker of a model says about training on its output."""
    return next((terms for pattern, terms in _GENERATORS if pattern.search(generator)), None)

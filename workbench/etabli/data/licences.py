"""Where rows come from, their licence, and whether the answers come from a model whose terms restrict training.

The origin is guessed from names: a file, a Hub data set or a source with a known name. That is a hint, not a proof, and
is marked as a hint; what the rows or the command say has precedence.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from etabli.core.errors import BadInput

FIELDS = ("licence", "source", "terms", "generator", "lang")
OPENAI_TERMS = "OpenAI's terms forbid using its models' output to develop models that compete with them"
RESTRICTIVE_TERMS = re.compile(r"(?i)forbid|must not|may not|not be used to train|restrict|interdi")

# Pattern of a path or source -> what its publisher says. Stanford Alpaca: README and DATA_LICENSE of
# tatsu-lab/stanford_alpaca; Dolly: databricks-dolly-15k's card; OASST: OpenAssistant/oasst1's card.
# "alpaca" and "sharegpt" alone are names of formats too, so they are no hint.
SOURCE_FACTS: tuple[tuple[re.Pattern[str], dict[str, str]], ...] = tuple(
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


def lineage_of(name: str, statements: Mapping[str, object]) -> dict[str, object]:
    """Return the lineage of a source: the statements about it, and hints from its name for the rest.

    Raises:
        BadInput: a statement is about something that is no part of a lineage.
    """
    unknown = [key for key in statements if key not in FIELDS]
    if unknown:
        raise BadInput(f"Unknown argument {unknown[0]!r}; of the rows one can say {', '.join(FIELDS)}.")
    name_hints = lineage_hints(name)
    fields = {key: str(statements[key]) for key in FIELDS if statements.get(key)}
    lineage = {"source": re.split(r"[\\/]", name)[-1], **name_hints, **fields}
    if "generator" in fields and "terms" not in fields:
        lineage.pop("terms", None)  # what the name hinted at was of another generator
    return {key: value for key, value in lineage.items() if value}


@lru_cache(maxsize=1024)
def lineage_hints(name: str) -> Mapping[str, str]:
    """Return what the publisher says about the rows, if the name is a known one."""
    path = name.replace("\\", "/").casefold()
    family = next((facts for pattern, facts in SOURCE_FACTS if pattern.search(path)), {})
    return {key: f"{value} (by its name)" for key, value in family.items()}


def terms_of(generator: str) -> str | None:
    """Return what the maker of a model says about training on its output; None if that is unknown."""
    return next((terms for pattern, terms in _GENERATORS if pattern.search(generator)), None)

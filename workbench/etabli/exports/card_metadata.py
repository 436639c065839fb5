"""What a model card says to the Hub (huggingface.co/docs/hub/model-cards), and texts that hold no markup."""

import re
from collections import Counter
from collections.abc import Mapping

from etabli.core.contracts import ALL, Results
from etabli.core.wording import count_of
from etabli.data.dataset import Dataset
from etabli.exports.merge import base_name
from etabli.models.sources import resolve
from etabli.runs.run import Run

PLACE = re.compile(r"(/|~[\\/]|[A-Za-z]:[\\/]|file:)")
HUB_LICENCE = re.compile(r"[a-z0-9.+-]+")  # how the Hub names licences: apache-2.0, cc-by-4.0
LONGEST = 300  # characters of one value in a table
# What Markdown or HTML reads as more than text: signs of markup, and the beginnings of links.
SIGNS = re.compile(r"[\\`*{}<>|#@]|(?<!\w)_|_(?!\w)|(?<=\])\(|!(?=\[)|:(?=//)|(?<=\bwww)\.")


def make_metadata(
    run: Run, rows: Dataset | None, base: Mapping[str, object], results: Results | None, what: str
) -> dict[str, object]:
    """Return the metadata of a card, for the ``adapter`` or the ``merged`` model (``what``)."""
    found: dict[str, object] = {
        "base_model": base_name(resolve(run.recipe.model)),
        "base_model_relation": "adapter" if what == "adapter" else "finetune",
        "library_name": "peft" if what == "adapter" else "transformers",
        "pipeline_tag": "text-generation",
        **_licence_metadata(rows, base),
        "tags": ["qlora", "etabli"],
    }
    languages = sorted(name for name in count_values(rows, "lang") if re.fullmatch(r"[a-z]{2,3}", name))
    if languages:
        found["language"] = languages
    if results and (scores := [score for score in results["scores"] if score["slice"] == ALL]):
        found["model-index"] = [{"name": run.name, "results": [_result(results, score) for score in scores]}]
    return found


def _result(results: Results, score: Mapping[str, object]) -> dict[str, object]:
    arms = score["arms"]
    assert isinstance(arms, dict)
    value = arms.get(results["subject"], {}).get("value")
    return {
        "task": {"type": "text-generation"},
        "dataset": {"name": f"test rows {results['data_hash'][:12]}", "type": "own"},
        "metrics": [{"type": score["name"], "name": f"{score['name']} (n = {score['n']})", "value": value}],
    }


def _licence_metadata(rows: Dataset | None, base: Mapping[str, object]) -> dict[str, object]:
    """Return the base's licence where no row asks for more; else ``other``: a person has to decide."""
    name = str(base["licence"])
    restricted = list_restrictions(rows)
    if rows is not None and not restricted and base["licence_terms"] == "open" and HUB_LICENCE.fullmatch(name):
        return {"license": name}
    return {"license": "other", "license_name": "see-below"}


def count_values(rows: Dataset | None, field: str) -> dict[str, int]:
    """Return how many rows have each value of a field."""
    return dict(Counter(str(value) for row in (rows.rows if rows else ()) if (value := row.get(field))))


def list_restrictions(rows: Dataset | None) -> list[str]:
    """Return terms of rows that restrict what is trained on them, and licences that forbid commercial use."""
    from etabli.data.licences import NON_COMMERCIAL, RESTRICTIVE_TERMS

    terms = [
        f"{plain(name)} ({count_of(count, 'row')})"
        for name, count in count_values(rows, "terms").items()
        if RESTRICTIVE_TERMS.search(name)
    ]
    licences = [
        f"{plain(name)} ({count_of(count, 'row')})"
        for name, count in count_values(rows, "licence").items()
        if NON_COMMERCIAL.search(name)
    ]
    return [*terms, *licences]


def plain(value: object) -> str:
    """Return a text for one line of Markdown without markup or links; of a place on a machine its last part."""
    text = " ".join(str(value).split())
    if PLACE.match(text):
        text = re.split(r"[\\/]", text.rstrip("\\/"))[-1]
    return SIGNS.sub(lambda sign: f"\\{sign[0]}", text[:LONGEST])

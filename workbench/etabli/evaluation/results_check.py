"""Do results hold together? Their types are right already; here names and numbers are compared with one another."""

from collections.abc import Iterator

from etabli.core.contracts import ALL, AnsweredRow, Metric, Results
from etabli.evaluation.aggregate import slice_names
from etabli.evaluation.scores.score import BOUNDED_UNITS

LARGEST_WEIGHT = 1e9  # tokens of one answer


def find_contradiction(results: Results) -> str:
    """The first place that names something unknown, or holds a number that can't be; an empty text if none does."""
    problems = (*_unknown_systems(results), *_unknown_scores(results), *_incomplete_rows(results))
    return next(iter(problems), "")


def _unknown_systems(results: Results) -> Iterator[str]:
    named_systems = [("subject", results["subject"]), *(("rivals", name) for name in results["rivals"])]
    for number, score in enumerate(results["scores"]):
        named_systems += [(f"scores.{number}.arms", name) for name in score["arms"]]
        named_systems += [(f"scores.{number}.differences", gap["minus"]) for gap in score["differences"]]
    for place, name in named_systems:
        if name not in results["arms"]:
            yield f"`{place}` names {name!r}, which is none of the arms"


def _unknown_scores(results: Results) -> Iterator[str]:
    names, slices = {metric["name"] for metric in results["metrics"]}, {*slice_names(results["rows"]), ALL}
    for number, score in enumerate(results["scores"]):
        if score["name"] not in names:
            yield f"`scores.{number}.name` is {score['name']!r}, which is none of the metrics"
        if score["slice"] not in slices:
            yield f"`scores.{number}.slice` is {score['slice']!r}, which is no slice of the rows"


def _incomplete_rows(results: Results) -> Iterator[str]:
    for number, row in enumerate(results["rows"]):
        yield from (f"`rows.{number}.answers` lacks {name!r}" for name in results["arms"] if name not in row["answers"])
        for metric in results["metrics"]:
            if metric["name"] not in row["values"]:
                yield f"`rows.{number}.values` lacks the score {metric['name']!r}"
            elif problem := _impossible_number(row, metric):
                yield f"`rows.{number}.{problem}"


def _impossible_number(row: AnsweredRow, metric: Metric) -> str:
    name, unit = metric["name"], metric["unit"]
    for system, value in row["values"][name].items():
        if unit in BOUNDED_UNITS and value is not None and not 0 <= value <= 1:
            return f"values.{name}.{system}` is {value}, and a {unit} lies between 0 and 1"
    weight = row["weights"].get(name, 1.0)
    return "" if 0 < weight <= LARGEST_WEIGHT else f"weights.{name}` is {weight}, which is no number of tokens"

"""Better, worse, or cannot tell, and about how many more rows would tell."""

import math
from typing import Any

from etabli.core.contracts import ARMS, Difference, Metric, Score
from etabli.evaluation.scores.score import LOSS, MEAN, SHARE

BETTER, WORSE, CANNOT_TELL = "better", "worse", "cannot tell"
ALPHA, POWER = 0.05, 0.8
MOST_ROWS = 1_000_000


def judge_slices(
    scores: list[Score], metrics: list[Metric], subject: str, rivals: list[str], parts: list[str]
) -> dict[str, Any]:
    """The subject against its rivals on each slice, by the first score.

    *Better* is better than every rival, each with its own 95 % interval. *Worse* is worse than one, with an interval
    that is wider for as many rivals as there are (Bonferroni): the best of several looks good by chance. For scores
    that say yes or no the exact test on changed rows has to agree, and for rows that could not be scored the verdict
    has to be the same if they were wrong.

    Returns:
        For each slice: verdict, score, unit, subject, rival, difference, n, clusters, more_rows, worth, why.
    """
    if not metrics or not rivals:
        return {}
    found = {score["slice"]: score for score in scores if score["name"] == metrics[0]["name"]}
    trained = set(rivals) <= set(ARMS)  # a second run's training is judged by no other run
    return {part: _one(found.get(part), metrics[0], subject, rivals, trained) for part in parts}


def _one(score: Score | None, metric: Metric, subject: str, rivals: list[str], trained: bool) -> dict[str, Any]:
    about = {"score": metric["name"], "unit": metric["unit"], "subject": subject}
    gaps = [gap for gap in score["differences"] if gap["minus"] in rivals] if score else []
    if score is None or not gaps:
        why = f"no row of {metric['name']} could be scored for {subject} and a rival"
        return about | {"verdict": CANNOT_TELL, "rival": None, "difference": None, "n": 0, "clusters": 0,
                        "more_rows": None, "worth": None, "why": why}  # fmt: skip
    sign = 1 if score["better"] == "higher" else -1
    said, gap, why = judge(gaps, sign)
    unscored = [arm for arm in rivals if arm in score["errors"] and arm not in {gap["minus"] for gap in gaps}]
    if said == BETTER and unscored:
        said, why = CANNOT_TELL, f"{', '.join(unscored)} could not be scored on any row"
    more = more_rows(gap) if said == CANNOT_TELL and not why else None
    worth = {BETTER: True, WORSE: False}.get(said) if trained else None
    return about | {"verdict": said, "rival": gap["minus"], "difference": gap, "n": gap["n"],
                    "clusters": gap["clusters"], "more_rows": more, "worth": worth, "why": why}  # fmt: skip


def judge(gaps: list[Difference], sign: int) -> tuple[str, Difference, str]:
    """What is said, of which rival, and what keeps it from being said."""
    hardest = min(gaps, key=lambda gap: _bounds(gap, sign)[0])
    losing = [gap for gap in gaps if _widened(gap, sign, len(gaps)) < 0]
    if _bounds(hardest, sign)[0] > 0:
        said, gap = BETTER, hardest
    elif losing:
        said, gap = WORSE, min(losing, key=lambda gap: sign * gap["value"])
    else:
        close = _bounds(hardest, sign)[1] < 0
        return CANNOT_TELL, hardest, f"an interval that allows for {len(gaps)} rivals holds zero" * close
    checked = gaps if said == BETTER else [gap]
    if any(_chance(one) > ALPHA for one in checked):
        return CANNOT_TELL, gap, "the exact test on the rows that changed does not agree"
    if any(_other(one, sign, said) for one in checked):
        return CANNOT_TELL, gap, "with the rows that could not be scored counted as wrong it would be another"
    return said, gap, ""


def _bounds(gap: Difference, sign: int) -> tuple[float, float]:
    low, high = sorted((sign * gap["low"], sign * gap["high"]))
    return low, high


def _widened(gap: Difference, sign: int, rivals: int) -> float:
    """The upper bound of an interval that allows for the choice among rivals."""
    upper, middle = _bounds(gap, sign)[1], sign * gap["value"]
    if rivals == 1 or not math.isfinite(gap["high"] - gap["low"]):
        return upper
    wider = _quantile(gap, ALPHA / 2 / rivals) / _quantile(gap, ALPHA / 2)
    return middle + wider * (upper - middle)


def _quantile(gap: Difference, tail: float) -> float:
    from scipy import stats

    return float(stats.t.ppf(1 - tail, max(0.25, gap["effective"] - 1)))


def _chance(gap: Difference) -> float:
    held = gap["flips"]
    if held is None:
        return 0.0
    return held["mcnemar"] if held["by_cluster"] is None else held["by_cluster"]


def _other(gap: Difference, sign: int, said: str) -> bool:
    if "worst" not in gap:
        return False
    low, high = sorted(sign * bound for bound in gap["worst"])
    return not (low > 0 if said == BETTER else high < 0)


def more_rows(gap: Difference) -> int | None:
    """About how many more rows would tell, four times in five, if the difference is what it looks like (statsmodels).

    Returns:
        None where there is no difference to clear, nothing known of its error, or more than a million rows are needed.
    """
    from statsmodels.stats.power import TTestPower

    reach = max(gap["high"] - gap["value"], gap["value"] - gap["low"])  # a bound cut off at 100 points is the nearer
    if gap["effective"] < 2 or abs(gap["value"]) < 1e-9 or not math.isfinite(reach) or reach <= 0:
        return None
    rows_each = gap["n"] / gap["effective"]
    effect = abs(gap["value"]) / (reach / _quantile(gap, ALPHA / 2) * math.sqrt(gap["effective"]))
    if (1.96 + 0.84) ** 2 / effect**2 * rows_each > MOST_ROWS:
        return None
    needed = TTestPower().solve_power(effect_size=min(effect, 5.0), alpha=ALPHA, power=POWER)
    return max(1, math.ceil(float(needed) * rows_each) - gap["n"])


def verdict_sentence(part: str, one: dict[str, Any]) -> str:
    """The verdict in words."""
    if one["rival"] is None:
        return f"{part}: nothing can be said of {one['subject']}: {one['why']}"
    said = {CANNOT_TELL: "can't be told from"}.get(one["verdict"], f"is {one['verdict']} than")
    n = f"n = {one['n']}" + (f" in {one['clusters']} clusters" if one["clusters"] != one["n"] else "")
    more = one["more_rows"]
    tell = f"; about {more:,} more row{'s' * (more > 1)} would tell" if more else ""
    why = f": {one['why']}" if one["why"] else ""
    head = f"{part}: {one['subject']} {said} {one['rival']} by {one['score']}"
    return f"{head} ({format_difference(one['difference'], one['unit'])}, {n}){why}{tell}{_worth(one)}"


def _worth(one: dict[str, Any]) -> str:
    """What it means for the training: only a rival that needs none can say."""
    if one["rival"] not in ARMS or one["worth"] is not False:
        unclear = one["worth"] is None and one["verdict"] == CANNOT_TELL and one["rival"] in ARMS
        return ". Not worth its training, as far as these rows can tell" if unclear else ""
    return ". Not worth its training"


def format_difference(gap: Difference, unit: str) -> str:
    """A difference with its unit and interval: +52 points [+41, +63]."""
    value, bounds = format_interval(gap, unit).split(" ", 1)
    named = " points" if unit in (SHARE, MEAN) else " nats/token" if unit == LOSS else ""
    return f"{value}{named} {bounds}"


def format_interval(gap: Difference, unit: str) -> str:
    """A difference with its interval: +52 [+41, +63]."""
    times, form = (100, ".0f") if unit in (SHARE, MEAN) else (1, ".3f")
    value, low, high = (_signed(gap[key], times, form) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _signed(number: float | None, times: int, form: str) -> str:
    return "?" if number is None or not math.isfinite(number) else f"{number * times:+{form}}".replace("-", "−")

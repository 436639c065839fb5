"""The verdict: better, worse, or cannot tell, and about how many more rows would tell."""

import math

from etabli.core.contracts import ARMS, Difference, Metric, Score, SliceVerdict
from etabli.evaluation.scores.score import BOUNDED_UNITS, LOSS

BETTER, WORSE, CANNOT_TELL = "better", "worse", "cannot tell"
ALPHA, POWER = 0.05, 0.8
MOST_ROWS = 1_000_000


def judge_slices(
    scores: list[Score], metrics: list[Metric], subject: str, baselines: list[str], parts: list[str]
) -> dict[str, SliceVerdict]:
    """The verdict on the subject against its baselines on each slice, by the first score.

    *Better* means better than every baseline, each with its own 95 % interval. *Worse* means worse than one, with an
    interval widened for the number of baselines (Bonferroni): the best of several looks good by chance. For scores
    that say yes or no the exact test on changed rows has to agree. The verdict also has to stay the same if the rows
    that could not be scored were wrong.
    """
    if not metrics or not baselines:
        return {}
    scores_by_slice = {score["slice"]: score for score in scores if score["name"] == metrics[0]["name"]}
    return {part: _judge_slice(scores_by_slice.get(part), metrics[0], subject, baselines) for part in parts}


def _judge_slice(score: Score | None, metric: Metric, subject: str, baselines: list[str]) -> SliceVerdict:
    result: SliceVerdict = {
        "score": metric["name"],
        "unit": metric["unit"],
        "subject": subject,
        "verdict": CANNOT_TELL,
        "rival": None,
        "difference": None,
        "n": 0,
        "clusters": 0,
        "more_rows": None,
        "worth": None,
        "why": f"no row of {metric['name']} could be scored for {subject} and a rival",
    }
    differences = [gap for gap in score["differences"] if gap["minus"] in baselines] if score else []
    if score is None or not differences:
        return result
    outcome, difference, why = judge(differences, sign_of(score["better"]))
    compared_names = {gap["minus"] for gap in differences}
    unscored_names = [name for name in baselines if name in score["errors"] and name not in compared_names]
    if outcome == BETTER and unscored_names:
        outcome, why = CANNOT_TELL, f"{', '.join(unscored_names)} could not be scored on any row"
    no_training = set(baselines) <= set(ARMS)  # another run as baseline does not tell whether training was worth it
    result["verdict"], result["why"] = outcome, why
    result["rival"], result["difference"] = difference["minus"], difference
    result["n"], result["clusters"] = difference["n"], difference["clusters"]
    result["more_rows"] = more_rows(difference) if outcome == CANNOT_TELL and not why else None
    result["worth"] = {BETTER: True, WORSE: False}.get(outcome) if no_training else None
    return result


def judge(differences: list[Difference], sign: int) -> tuple[str, Difference, str]:
    """The outcome (better, worse or cannot tell), the difference that decided it, and what prevented a clear outcome.

    Args:
        differences: the subject minus each baseline.
        sign: 1 if a higher score is better, -1 if a lower one is.
    """
    hardest = min(differences, key=lambda gap: _signed_bounds(gap, sign)[0])
    losses = [gap for gap in differences if _widened_upper(gap, sign, len(differences)) < 0]
    if _signed_bounds(hardest, sign)[0] > 0:
        outcome, difference = BETTER, hardest
    elif losses:
        outcome, difference = WORSE, min(losses, key=lambda gap: sign * gap["value"])
    else:
        nearly_worse = _signed_bounds(hardest, sign)[1] < 0
        why = f"an interval that allows for {len(differences)} rivals holds zero" if nearly_worse else ""
        return CANNOT_TELL, hardest, why
    deciding = differences if outcome == BETTER else [difference]
    if any(_p_value(gap) > ALPHA for gap in deciding):
        return CANNOT_TELL, difference, "the exact test on the rows that changed does not agree"
    if any(_errors_could_change(gap, sign, outcome) for gap in deciding):
        return CANNOT_TELL, difference, "with the rows that could not be scored counted as wrong it would be another"
    return outcome, difference, ""


def sign_of(better: str) -> int:
    """1 for a score that is better when ``higher``, -1 for one that is better when lower."""
    return 1 if better == "higher" else -1


def judge_interval(difference: Difference, better: str) -> str:
    """Better, worse or cannot tell, as the difference's interval alone says."""
    low, high = _signed_bounds(difference, sign_of(better))
    return BETTER if low > 0 else WORSE if high < 0 else CANNOT_TELL


def _signed_bounds(difference: Difference, sign: int) -> tuple[float, float]:
    """The interval's bounds, so that positive is better."""
    low, high = sorted((sign * difference["low"], sign * difference["high"]))
    return low, high


def _widened_upper(difference: Difference, sign: int, baseline_count: int) -> float:
    """The upper bound of the interval, widened for the choice among baselines (Bonferroni)."""
    upper, middle = _signed_bounds(difference, sign)[1], sign * difference["value"]
    if baseline_count == 1 or not math.isfinite(difference["high"] - difference["low"]):
        return upper
    factor = _t_quantile(difference, ALPHA / 2 / baseline_count) / _t_quantile(difference, ALPHA / 2)
    return middle + factor * (upper - middle)


def _t_quantile(difference: Difference, tail: float) -> float:
    from scipy import stats

    return float(stats.t.ppf(1 - tail, max(0.25, difference["effective"] - 1)))


def _p_value(difference: Difference) -> float:
    """The p-value of the exact test on changed rows; 0 for scores that do not say yes or no."""
    flips = difference["flips"]
    if flips is None:
        return 0.0
    return flips["mcnemar"] if flips["by_cluster"] is None else flips["by_cluster"]


def _errors_could_change(difference: Difference, sign: int, outcome: str) -> bool:
    """Would the outcome be another if the rows that could not be scored were wrong?"""
    if "worst" not in difference:
        return False
    low, high = sorted(sign * bound for bound in difference["worst"])
    return not (low > 0 if outcome == BETTER else high < 0)


def more_rows(difference: Difference) -> int | None:
    """About how many more rows would tell, with a power of 80 %, if the true difference is the measured one.

    Returns:
        None if there is no difference, if its error is unknown, or if more than a million rows are needed.
    """
    from statsmodels.stats.power import TTestPower

    value, groups = difference["value"], difference["effective"]
    # A bound that is cut off at 100 points is the nearer one.
    reach = max(difference["high"] - value, value - difference["low"])
    if groups < 2 or abs(value) < 1e-9 or not math.isfinite(reach) or reach <= 0:
        return None
    rows_per_cluster = difference["n"] / groups
    effect = abs(value) / (reach / _t_quantile(difference, ALPHA / 2) * math.sqrt(groups))
    if (1.96 + 0.84) ** 2 / effect**2 * rows_per_cluster > MOST_ROWS:
        return None
    clusters = TTestPower().solve_power(effect_size=min(effect, 5.0), alpha=ALPHA, power=POWER)
    return max(1, math.ceil(float(clusters) * rows_per_cluster) - difference["n"])


def verdict_sentence(part: str, verdict: SliceVerdict) -> str:
    """The verdict on the slice ``part`` as a sentence."""
    subject, rival, difference = verdict["subject"], verdict["rival"], verdict["difference"]
    outcome = verdict["verdict"]
    if rival is None or difference is None:
        return f"{part}: nothing can be said of {subject}: {verdict['why']}."
    relation = "can't be told from" if outcome == CANNOT_TELL else f"is {outcome} than"
    size = f"n = {verdict['n']}"
    if verdict["clusters"] != verdict["n"]:
        size += f" in {verdict['clusters']} clusters"
    text = f"{part}: {subject} {relation} {rival} by {verdict['score']}"
    text += f" ({format_difference(difference, verdict['unit'])}, {size})"
    if verdict["why"]:
        text += f": {verdict['why']}"
    if count := verdict["more_rows"]:
        text += f"; about {count:,} more row{'s' if count > 1 else ''} would tell"
    if rival in ARMS and verdict["worth"] is False:
        text += ". Its training did not pay"
    elif rival in ARMS and verdict["worth"] is None and outcome == CANNOT_TELL:
        text += ". Whether its training pays stays open"
    return f"{text}."


def format_difference(difference: Difference, unit: str) -> str:
    """A difference with its unit and interval: +52 points [+41, +63]."""
    value, bounds = format_interval(difference, unit).split(" ", 1)
    suffix = " points" if unit in BOUNDED_UNITS else " nats/token" if unit == LOSS else ""
    return f"{value}{suffix} {bounds}"


def format_interval(difference: Difference, unit: str) -> str:
    """A difference with its interval: +52 [+41, +63]."""
    factor, form = (100, ".0f") if unit in BOUNDED_UNITS else (1, ".3f")

    def format_number(number: float | None) -> str:
        if number is None or not math.isfinite(number):
            return "?"
        return f"{number * factor:+{form}}".replace("-", "−")

    value, low, high = map(format_number, (difference["value"], difference["low"], difference["high"]))
    return f"{value} [{low}, {high}]"

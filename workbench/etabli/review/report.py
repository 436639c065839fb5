"""Vote results and progress as text: the same sentences in a widget, at the terminal and on a page."""

from typing import TypedDict

from etabli.core.contracts import Estimate, NeededItems, PairResult, VoteProgress, VoteResults, VoteVerdict
from etabli.core.wording import count_of
from etabli.evaluation.verdict import BETTER, CANNOT_TELL, WORSE

_PREFERENCES = {BETTER: "is preferred to", WORSE: "is liked less than", CANNOT_TELL: "can't be told from"}
_VOTER_SHARES = {
    "self_agreement": "the same when shown again",
    "sides": "for the left",
    "longer": "for the longer answer",
}


class ResultsPage(TypedDict):
    """Vote results as a page shows them."""

    compared: str  # names the systems
    verdict: str
    kind: str  # better, worse or cannot tell
    heads: list[str]
    rows: list[list[str]]
    notes: list[str]


def describe_progress(progress: VoteProgress, pairs: int) -> str:
    """Say how far a session is from a verdict, without a word on which system is ahead.

    Args:
        pairs: how many pairs of the session count, voted on or not.
    """
    evidence = progress["evidence"]
    if evidence is None and pairs < progress["every"]:
        return "This session is too short to show your progress: the result comes after the last vote."
    if evidence is None:
        return (
            f"Your progress is shown after every {progress['every']} votes that have a winner: "
            "shown earlier, it would tell who won the last vote."
        )
    strength = f"evidence {_format_evidence(evidence, progress['threshold'])}"
    if progress["needed"] is None:
        return f"After {progress['votes']} votes a verdict is possible: {strength}. More votes make it surer."
    half = progress["needed"]["half"]
    too_few = half is None or half > progress["left"]
    left = f"Pairs that are left: {progress['left']:,}." if progress["left"] else "No pair is left."
    short = f" {left} A verdict takes more prompts." if too_few else ""
    return f"After {progress['votes']} votes: {strength}. {_describe_needed(progress['needed'], 'votes')}{short}"


def _format_evidence(value: float, threshold: float) -> str:
    number = f"{value:.1f}" if value < 100 else f"{value:,.0f}" if value < 1e6 else "over a million"
    return f"{number} ({threshold:g} needed)"


def _describe_needed(forecast: NeededItems, unit: str) -> str:
    half, upper = forecast["half"], forecast["most"]
    if half is None:
        return "No verdict is in sight: the two are about equal."
    bound = f"in nine cases of ten at most {upper:,}" if upper else "in one case of ten far more"
    return f"About {half:,} more {unit} are needed if the votes go on like this, {bound}."


def describe_results(results: VoteResults) -> ResultsPage:
    """Return the results for a page: what was ``compared``, the verdict, a table and notes."""
    verdict = results["verdict"]["all"]
    *others, last = results["arms"]
    return {
        "compared": f"You compared {', '.join(others)} with {last}.",
        "verdict": describe_verdict(verdict),
        "kind": verdict["verdict"],
        "heads": ["items", "won", "lost", "tied", "both bad", "share of votes", "evidence"],
        "rows": [_pair_row(pair, results) for pair in results["pairs"] if pair["items"]],
        "notes": [*_describe_strengths(results), *_describe_voters(results), *_describe_agreement(results)]
        + results["said"],
    }


def describe_verdict(verdict: VoteVerdict) -> str:
    """Return a verdict as a sentence."""
    evidence = _format_evidence(verdict["evidence"], verdict["threshold"])
    counts = f"{verdict['wins']} won, {verdict['losses']} lost of {verdict['n']} items; evidence {evidence}"
    has_winners = verdict["wins"] + verdict["losses"]
    items_needed = verdict["items_needed"]
    more = f" {_describe_needed(items_needed, 'items')}" if items_needed and has_winners else ""
    return f"{verdict['subject']} {_PREFERENCES[verdict['verdict']]} {verdict['rival']}: {counts}.{more}"


def _pair_row(pair: PairResult, results: VoteResults) -> list[str]:
    differences = results["scores"][0]["differences"]
    gap = next(gap for gap in differences if (gap["of"], gap["minus"]) == (pair["of"], pair["minus"]))
    share = _format_share(0.5 + gap["value"] / 2, 0.5 + gap["low"] / 2, 0.5 + gap["high"] / 2)
    counts = [str(pair[name]) for name in ("wins", "losses", "ties", "both_bad")]
    evidence = _format_evidence(pair["evidence"], pair["threshold"])
    return [f"{pair['of']} against {pair['minus']}", *counts, share, evidence]


def _format_share(value: float, low: float, high: float) -> str:
    return f"{value:.0%} [{100 * max(0.0, low):.0f}, {100 * min(1.0, high):.0f}]"


def _format_signed(number: float) -> str:
    return f"{round(number, 2) + 0.0:+.2f}".replace("-", "−")


def _format_bounds(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{_format_signed(low)}, {_format_signed(high)}]"


def _describe_strengths(results: VoteResults) -> list[str]:
    strengths = sorted((entry for entry in results["strengths"] if entry["votes"]), key=lambda entry: -entry["value"])
    texts = []
    for entry in strengths:
        separated_note = " (won or lost every vote)" if entry["separated"] else ""
        bounds = _format_bounds(entry["low"], entry["high"])
        texts.append(f"{entry['arm']} {_format_signed(entry['value'])}{bounds}{separated_note}")
    return [f"Strength in log-odds (Bradley-Terry): {', '.join(texts)}."] if texts else []


def _describe_voters(results: VoteResults) -> list[str]:
    shares: dict[str, dict[str, Estimate | None]] = {
        "self_agreement": results["self_agreement"],
        "sides": results["sides"],
        "longer": results["longer"],
    }
    lines = []
    for voter in results["raters"]:
        texts = []
        for name, meaning in _VOTER_SHARES.items():
            share = shares[name][voter]
            if share:
                text = _format_share(share["value"], share["low"], share["high"])
                texts.append(f"{text} {meaning} (n = {share['n']})")
        if texts:
            lines.append(f"{voter}: {'; '.join(texts)}.")
    return lines


def _describe_agreement(results: VoteResults) -> list[str]:
    lines = []
    for agreement in results["agreement"]:
        names, share = " and ".join(agreement["raters"]), agreement["share"]
        if share is None:
            lines.append(f"{names} have judged no pair in common.")
            continue
        kappa = ""
        if agreement["kappa"] is not None:
            bounds = _format_bounds(agreement["low"], agreement["high"])
            kappa = f", kappa {_format_signed(agreement['kappa'])}{bounds}"
        text = _format_share(share["value"], share["low"], share["high"])
        lines.append(f"{names} agree on {text} of {count_of(agreement['n'], 'pair')}{kappa}.")
    return lines


def format_results(results: VoteResults) -> str:
    """Return the results as text for a terminal."""
    page = describe_results(results)
    rows = [page["heads"], *page["rows"]]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    voters = ", ".join(f"{name} ({count})" for name, count in results["raters"].items())
    return "\n".join([page["verdict"], "", *lines, "", f"Voters: {voters}.", *page["notes"]])

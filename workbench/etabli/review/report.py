"""Votes in words, the same in a widget, at the terminal and on a page."""

from typing import Any

from etabli.core.contracts import Estimate, Standing
from etabli.evaluation.verdict import BETTER, CANNOT_TELL, WORSE


def watched(now: dict[str, Any]) -> str:
    """How far it is to a verdict, without saying whose."""
    if now["evidence"] is None:
        every = f"every {now['every']} votes that have a winner"
        return f"How far it is to a verdict is shown {every}: sooner it would tell who won the last."
    if now["needed"] is None:
        return f"After {now['votes']} votes it can be told: evidence {_evidence(now)}. Voting on makes it surer."
    half = now["needed"]["half"]
    short = f" Only {now['left']:,} are left: that takes more prompts." if half is None or half > now["left"] else ""
    return f"After {now['votes']} votes: evidence {_evidence(now)}. {_needed(now['needed'], 'votes')}{short}"


def _evidence(one: dict[str, Any]) -> str:
    value = one["evidence"]
    shown = f"{value:.1f}" if value < 100 else f"{value:,.0f}" if value < 1e6 else "over a million"
    return f"{shown} ({one['threshold']:g} needed)"


def _needed(needed: dict[str, int | None], unit: str) -> str:
    half, most = needed["half"], needed["most"]
    if half is None:
        return "No end in sight: the two are as good as alike."
    bound = f"at most {most:,} in nine cases of ten" if most else "in one case of ten far more"
    return f"About {half:,} more {unit} if it goes on like this, {bound}."


def told(standing: Standing) -> dict[str, Any]:
    """What a standing says: ``verdict``, a table (``heads``, ``rows``) and ``notes``."""
    return {
        "verdict": verdict(standing["verdict"]["all"]), "kind": standing["verdict"]["all"]["verdict"],
        "heads": ["items", "won", "lost", "tied", "both bad", "share of votes", "evidence"],
        "rows": [_pair(pair, standing) for pair in standing["pairs"] if pair["items"]],
        "notes": [*_strengths(standing), *_voters(standing), *_raters(standing), *standing["said"]],
    }  # fmt: skip


def verdict(one: dict[str, Any]) -> str:
    """The verdict in a sentence."""
    said = {BETTER: "is preferred to", WORSE: "is worse liked than", CANNOT_TELL: "can't be told from"}[one["verdict"]]
    won = f"{one['wins']} won, {one['losses']} lost of {one['n']} items; evidence {_evidence(one)}"
    decided = one["wins"] + one["losses"]
    more = f" {_needed(one['items_needed'], 'items')}" if one["items_needed"] and decided else ""
    return f"{one['subject']} {said} {one['rival']}: {won}.{more}"


def _pair(pair: dict[str, Any], standing: Standing) -> list[str]:
    gap = next(
        gap for gap in standing["scores"][0]["differences"] if (gap["of"], gap["minus"]) == (pair["of"], pair["minus"])
    )
    half = {name: 0.5 + gap[name] / 2 for name in ("value", "low", "high")}
    counts = [str(pair[name]) for name in ("wins", "losses", "ties", "both_bad")]
    return [f"{pair['of']} against {pair['minus']}", *counts, _percent(half), _evidence(pair)]


def _percent(one: dict[str, Any] | Estimate) -> str:
    low, high = max(0.0, one["low"]), min(1.0, one["high"])
    return f"{one['value']:.0%} [{100 * low:.0f}, {100 * high:.0f}]"


def _strengths(standing: Standing) -> list[str]:
    held = sorted((one for one in standing["strengths"] if one["votes"]), key=lambda one: -one["value"])
    if not held:
        return []
    each = ", ".join(
        f"{one['arm']} {_signed(one['value'])}{_bounds(one)}{' (won or lost every vote)' * one['separated']}"
        for one in held
    )
    return [f"Strength in log-odds (Bradley-Terry): {each}."]


def _bounds(one: dict[str, Any]) -> str:
    return "" if one["low"] is None else f" [{_signed(one['low'])}, {_signed(one['high'])}]"


def _signed(number: float) -> str:
    return f"{round(number, 2) + 0.0:+.2f}".replace("-", "−")


def _voters(standing: Standing) -> list[str]:
    each = {rater: _voter(standing, rater) for rater in standing["raters"]}
    return [f"{rater}: {said}." for rater, said in each.items() if said]


def _voter(standing: Standing, rater: str) -> str:
    asked = {"self_agreement": "the same when shown again", "sides": "for the left", "longer": "for the longer answer"}
    return "; ".join(filter(None, (_of(standing[name][rater], what) for name, what in asked.items())))


def _of(one: Estimate | None, what: str) -> str:
    return f"{_percent(one)} {what} (n = {one['n']})" if one else ""


def _raters(standing: Standing) -> list[str]:
    return [_between(one) for one in standing["agreement"]]


def _between(one: dict[str, Any]) -> str:
    names = " and ".join(one["raters"])
    if not one["n"]:
        return f"{names} have judged no pair in common."
    kappa = "" if one["kappa"] is None else f", kappa {_signed(one['kappa'])}{_bounds(one)}"
    return f"{names} agree on {_percent(one['share'])} of {one['n']} pairs{kappa}."


def text(standing: Standing) -> str:
    """A standing for a terminal."""
    held = told(standing)
    sizes = [max(len(row[at]) for row in [held["heads"], *held["rows"]]) for at in range(len(held["heads"]))]
    table = [
        "  ".join(cell.ljust(size) for cell, size in zip(row, sizes)).rstrip() for row in [held["heads"], *held["rows"]]
    ]
    voters = ", ".join(f"{name} ({count})" for name, count in standing["raters"].items())
    return "\n".join([held["verdict"], "", *table, "", f"Voters: {voters}.", *held["notes"]])

"""Better, worse, or cannot tell, and about how many more rows would tell."""

import math
from typing import Any

from etabli.contracts import Score


def verdict(scores: list[Score]) -> dict[str, Any]:
    """The tuned model against its best rival, by exact answers, on each slice."""
    return {score["slice"]: _one(score) for score in scores if score["name"] == "exact"}


def _one(score: Score) -> dict[str, Any]:
    rivals = {arm: estimate["value"] for arm, estimate in score["arms"].items() if arm != "tuned"}
    best = max(rivals, key=rivals.get)
    gap = next(difference for difference in score["differences"] if difference["minus"] == best)
    if gap["low"] > 0:
        said, more = "better", 0
    elif gap["high"] < 0:
        said, more = "worse", 0
    else:
        said, more = "cannot tell", more_rows(gap["value"], (gap["high"] - gap["low"]) / 2, score["n"])
    return {"verdict": said, "rival": best, "difference": gap, "n": score["n"], "more_rows": more}


def more_rows(value: float, reach: float, n: int) -> int | None:
    """About how many more rows would clear zero at this difference; None where there is no difference to clear.

    An interval shrinks with the square root of n.
    """
    if abs(value) < 1e-9:
        return None
    return max(1, math.ceil(n * (reach / abs(value)) ** 2) - n)


def sentence(part: str, one: dict[str, Any]) -> str:
    """The verdict in words."""
    gap = one["difference"]
    numbers = f"{100 * gap['value']:+.0f} points [{100 * gap['low']:+.0f}, {100 * gap['high']:+.0f}], n = {one['n']}"
    tell = f"; about {one['more_rows']} more rows would tell" if one["more_rows"] else ""
    said = {"cannot tell": "can't be told from"}.get(one["verdict"], f"is {one['verdict']} than")
    return f"{part}: tuned {said} {one['rival']} ({numbers}){tell}"

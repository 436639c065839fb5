"""What votes say: who is preferred, how sure, how many more votes would tell; and what kind of voters these are.

A pure function of votes. What counts is the item: where several people judged the same pair of answers they share what
those answers are like, so their votes are not as many coins. Each item is one, by whether more were for or against.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from etabli.core.contracts import ALL, VERSION, Estimate, Score, VoteResults, Vote
from etabli.core.errors import BadData
from etabli.evaluation import intervals
from etabli.evaluation.verdict import BETTER, CANNOT_TELL, WORSE
from etabli.review import bradley_terry, e_process
from etabli.review.votes import valid_votes, vote_key, winner

PREFERRED = "preferred"
NEVER = {"half": None, "most": None}  # votes needed, where none has had a winner
FEW = 10  # pairs judged by both, below which kappa has no interval worth showing


def summarise_votes(votes: Sequence[Vote], said: Sequence[str] = (), arms: Sequence[str] = ()) -> VoteResults:
    """What votes on one comparison say.

    Args:
        votes: each once, oldest first (``votes.pool``); said: what a reader has to know besides.
        arms: all arms, the judged one last; by default as most votes name them.

    Raises:
        BadData: no votes.
    """
    if not votes:
        raise BadData("There are 0 votes: nothing can be said.")
    named, raters = list(arms) or _usual(votes), list(dict.fromkeys(vote["by"] for vote in votes))
    first = valid_votes(votes)
    found = compare_pairs(votes, named)
    parts = {ALL: first} | _slices(first, raters)
    return {
        "version": VERSION, "comparison": votes[0]["comparison"], "arms": named,
        "raters": {rater: sum(vote["by"] == rater for vote in votes) for rater in raters}, "votes": len(votes),
        "scores": [_score(part, held, named) for part, held in parts.items() if held],
        "verdict": {ALL: _verdict(found, named)}, "pairs": found, "strengths": bradley_terry.fit_strengths(first, named),
        **_voters(votes, first, raters, named), "said": [*said, *_notes(votes, first, raters)],
    }  # fmt: skip


def _usual(votes: Sequence[Vote]) -> list[str]:
    return list(Counter(tuple(vote["arms"]) for vote in votes).most_common(1)[0][0])


def _voters(votes: Sequence[Vote], first: list[Vote], raters: list[str], arms: list[str]) -> dict[str, Any]:
    """What kind of voters these are, each and every two of them."""
    return {
        "agreement": [_agreement(first, *two, arms) for two in itertools.combinations(raters, 2)],
        "self_agreement": {rater: _self(votes, rater) for rater in raters},
        "sides": {rater: _share(first, rater, "left") for rater in raters},
        "longer": {rater: _share(first, rater, "longer") for rater in raters},
    }


def _slices(votes: list[Vote], raters: list[str]) -> dict[str, list[Vote]]:
    """By the items' slice and by voter, where there are several; named so that no slice is taken for another."""
    names = sorted({vote["slice"] for vote in votes} - {""})
    parts = {f"slice {name}": [vote for vote in votes if vote["slice"] == name] for name in names}
    by_rater = {f"by {name}": [vote for vote in votes if vote["by"] == name] for name in raters}
    return (parts if len(names) > 1 else {}) | (by_rater if len(raters) > 1 else {})


def vote_points(vote: Vote, arm: str) -> float:
    """1 if an arm was chosen, 0 if the other was, half for a tie of either kind."""
    return 0.5 if winner(vote) is None else float(winner(vote) == arm)


def _score(part: str, votes: list[Vote], arms: list[str]) -> Score:
    items = [vote["item"] for vote in votes]
    return {
        "name": PREFERRED, "slice": part, "n": len(votes), "clusters": len(set(items)), "unit": "mean",
        "better": "higher", "errors": {}, "arms": {arm: held for arm in arms if (held := _arm(votes, arm))},
        "differences": [gap for two in itertools.combinations(arms, 2) if (gap := _gap(votes, *two))],
    }  # fmt: skip


def _arm(votes: list[Vote], arm: str) -> Estimate | None:
    mine = [vote for vote in votes if arm in (vote["left"], vote["right"])]
    values = [vote_points(vote, arm) for vote in mine]
    return intervals.mean_interval(values, [vote["item"] for vote in mine], bounded=True) if mine else None


def _gap(votes: list[Vote], minus: str, of: str) -> Any:
    mine = [vote for vote in votes if {vote["left"], vote["right"]} == {of, minus}]
    values = {arm: [vote_points(vote, arm) for vote in mine] for arm in (of, minus)}
    return intervals.paired_difference(of, minus, values, [vote["item"] for vote in mine]) if mine else None


def compare_pairs(votes: Sequence[Vote], arms: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Every two arms, the later one first: items won, lost and tied, and the evidence that they differ.

    Any of several pairs may reach the threshold by luck: it is as many times as high as there are pairs.
    """
    held, two = valid_votes(votes), list(itertools.combinations(arms or votes[0]["arms"], 2))
    return [_pair(held, *one, e_process.THRESHOLD * len(two)) for one in two]


def _pair(votes: list[Vote], minus: str, of: str, threshold: float) -> dict[str, Any]:
    """An item is won where more of its votes are for than against; tied, or bad on both sides, where as many."""
    items: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        if {vote["left"], vote["right"]} == {of, minus}:
            items[vote["item"]].append(vote)
    lean = {item: sum(vote_points(vote, of) - 0.5 for vote in mine) for item, mine in items.items()}
    wins, losses = sum(value > 0 for value in lean.values()), sum(value < 0 for value in lean.values())
    bad = sum(all(vote["choice"] == "both bad" for vote in mine) for mine in items.values())
    needed = e_process.votes_needed(wins, losses, threshold)  # of votes with a winner; ties go on as they were
    return {
        "of": of, "minus": minus, "items": len(items), "wins": wins, "losses": losses,
        "ties": len(items) - wins - losses - bad, "both_bad": bad,
        "evidence": e_process.evidence(wins, losses), "threshold": threshold,
        "needed": e_process.scale_votes(needed, (len(items) + 1) / (wins + losses + 1)) if wins + losses else NEVER,
    }  # fmt: skip


def _verdict(pairs: list[dict[str, Any]], arms: list[str]) -> dict[str, Any]:
    """The last arm against each other one. Better is better than all; worse is worse than one."""
    subject = arms[-1]
    mine = [pair for pair in pairs if pair["of"] == subject]
    lost = [pair for pair in mine if _told(pair) == WORSE]
    open_ = [pair for pair in mine if _told(pair) == CANNOT_TELL]
    said = WORSE if lost else CANNOT_TELL if open_ else BETTER
    pair = min(lost or open_ or mine, key=lambda pair: pair["wins"] - pair["losses"])
    return {
        "verdict": said, "subject": subject, "rival": pair["minus"], "evidence": pair["evidence"],
        "threshold": pair["threshold"], "items_needed": pair["needed"], "n": pair["items"],
        "wins": pair["wins"], "losses": pair["losses"],
    }  # fmt: skip


def _told(pair: dict[str, Any]) -> str:
    if pair["evidence"] < pair["threshold"]:
        return CANNOT_TELL
    return BETTER if pair["wins"] > pair["losses"] else WORSE


# --- what kind of voters --------------------------------------------------------------------------------------------


def _self(votes: Sequence[Vote], rater: str) -> Estimate | None:
    """How often a voter said the same when shown the same again, sides swapped."""
    mine = {vote_key(vote): vote for vote in votes if vote["by"] == rater}
    twice = [(mine[(item, pair, False)], vote) for (item, pair, again), vote in mine.items()
             if again and (item, pair, False) in mine]  # fmt: skip
    return _wilson([float(_said(one) == _said(other)) for one, other in twice])


def _said(vote: Vote) -> tuple[str | None, str]:
    won = winner(vote)
    return won, "" if won else vote["choice"]


def _share(votes: list[Vote], rater: str, what: str) -> Estimate | None:
    """Of a voter's votes with a winner, how many went to the left, or to the longer answer."""
    mine = [vote for vote in votes if vote["by"] == rater and winner(vote)]
    if what == "left":
        return _wilson([float(vote["choice"] == "left") for vote in mine])
    uneven = [vote for vote in mine if vote["lengths"][0] != vote["lengths"][1]]
    return _wilson([float((vote["lengths"][0] > vote["lengths"][1]) == (vote["choice"] == "left")) for vote in uneven])


def _wilson(hits: list[float]) -> Estimate | None:
    return intervals.share_interval(hits, list(map(str, range(len(hits))))) if hits else None


def _agreement(votes: list[Vote], one: str, other: str, arms: list[str]) -> dict[str, Any]:
    """Two raters on what both judged: share alike, and Cohen's kappa (statsmodels) with its interval.

    What was said is the pair's earlier arm, its later one, tie or both bad: with three arms, names would tell which
    pair was shown, and that both raters have in common whatever they think.
    """
    held = {rater: {vote_key(vote): vote for vote in votes if vote["by"] == rater} for rater in (one, other)}
    both = [
        tuple(_placed(held[rater][shown], arms) for rater in (one, other))
        for shown in held[one]
        if shown in held[other]
    ]
    return {"raters": [one, other], "n": len(both), "share": _wilson([float(a == b) for a, b in both]), **_kappa(both)}


def _placed(vote: Vote, arms: list[str]) -> str:
    won = winner(vote)
    earlier = min(vote["left"], vote["right"], key=arms.index)
    return vote["choice"] if won is None else "earlier" if won == earlier else "later"


def _kappa(both: list[tuple[str, ...]]) -> dict[str, float | None]:
    """Nothing where there is nothing to tell it from; no interval below ten pairs, or where it would have no width."""
    import numpy as np
    from statsmodels.stats.inter_rater import cohens_kappa

    kinds = sorted({said for pair in both for said in pair})
    if len(both) < 2 or len(kinds) < 2:
        return {"kappa": None, "low": None, "high": None}
    table = np.zeros((len(kinds), len(kinds)))
    for a, b in both:
        table[kinds.index(a), kinds.index(b)] += 1
    found = cohens_kappa(table)
    sure = len(both) >= FEW and found.std_kappa > 1e-9
    low, high = (float(found.kappa_low), float(found.kappa_upp)) if sure else (None, None)
    return {"kappa": float(found.kappa), "low": low, "high": high}


def _notes(votes: Sequence[Vote], first: list[Vote], raters: list[str]) -> list[str]:
    seen = sum(vote["unblinded"] for vote in votes)
    several = len(first) > len({vote_key(vote) for vote in first})
    told = first and not any(winner(vote) for vote in first)
    return [
        *["Every vote is a tie or both bad: nobody is preferred."] * bool(told),
        *[f"{seen} of {len(votes)} votes were cast after looking who is who: they don't count."] * bool(seen),
        *["Evidence counts items, by whether more votes were for or against: voters share what answers are like."]
        * several,
        *["One voter: this is one person's taste."] * (len(raters) == 1),
    ]

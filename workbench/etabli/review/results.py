"""What votes say: which system is preferred, how sure that is, and how the voters agree.

Everything here is a pure function of votes. The unit of evidence is the item: people who judge the same pair of answers
share what these answers are like, so their votes are not independent. An item is won by the side with more votes.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence

from etabli.core.contracts import (
    ALL,
    VERSION,
    Agreement,
    Difference,
    Estimate,
    NeededItems,
    PairResult,
    Score,
    Vote,
    VoteResults,
    VoteVerdict,
)
from etabli.core.errors import BadData
from etabli.evaluation import intervals
from etabli.evaluation.verdict import BETTER, CANNOT_TELL, WORSE
from etabli.review import bradley_terry, e_process
from etabli.review.tells import describe_tells
from etabli.review.votes import valid_votes, vote_key, winner

SCORE_NAME = "preferred"
MIN_KAPPA_PAIRS = 10  # pairs that both voters judged; below this, kappa gets no interval


def summarise_votes(votes: Sequence[Vote], notes: Sequence[str] = (), arms: Sequence[str] = ()) -> VoteResults:
    """Return the results of the votes on one comparison.

    Args:
        votes: each once, oldest first (``votes.pool``).
        notes: more notes for the reader, put before those on these votes.
        arms: all systems, the judged one last; by default in the order that most votes name.

    Raises:
        BadData: there are no votes.
    """
    if not votes:
        raise BadData("There are 0 votes, so there are no results. Vote first: etabli arena RUN.")
    systems = list(arms) or list(Counter(tuple(vote["arms"]) for vote in votes).most_common(1)[0][0])
    voters = list(dict.fromkeys(vote["by"] for vote in votes))
    valid = valid_votes(votes)
    pairs = compare_pairs(votes, systems)
    slices = {ALL: valid} | _split_votes(valid, voters)
    return {
        "version": VERSION,
        "comparison": votes[0]["comparison"],
        "arms": systems,
        "raters": dict(Counter(vote["by"] for vote in votes)),
        "votes": len(votes),
        "scores": [_score(name, slice_votes, systems) for name, slice_votes in slices.items() if slice_votes],
        "verdict": {ALL: _verdict(pairs, systems[-1])},
        "pairs": pairs,
        "strengths": bradley_terry.fit_strengths(valid, systems),
        "agreement": [_agreement(valid, *two, systems) for two in itertools.combinations(voters, 2)],
        "self_agreement": {voter: _self_agreement(votes, voter) for voter in voters},
        "sides": {voter: _left_share(valid, voter) for voter in voters},
        "longer": {voter: _longer_share(valid, voter) for voter in voters},
        "said": [*notes, *_notes(votes, valid, voters), *describe_tells(votes, systems)],
    }


def _split_votes(votes: list[Vote], voters: list[str]) -> dict[str, list[Vote]]:
    """Votes by item slice and by voter, if there are several; the prefixes keep the two kinds of name apart."""
    names = sorted({vote["slice"] for vote in votes} - {""})
    by_slice = {f"slice {name}": [vote for vote in votes if vote["slice"] == name] for name in names}
    by_voter = {f"by {name}": [vote for vote in votes if vote["by"] == name] for name in voters}
    return (by_slice if len(names) > 1 else {}) | (by_voter if len(voters) > 1 else {})


def vote_points(vote: Vote, system: str) -> float:
    """Return 1 if the system was chosen, 0 if the other one was, 0.5 for a tie and for both bad."""
    return 0.5 if winner(vote) is None else float(winner(vote) == system)


def _score(slice_name: str, votes: list[Vote], systems: list[str]) -> Score:
    items = [vote["item"] for vote in votes]
    estimates = {system: _estimate(votes, system) for system in systems}
    differences = [_difference(votes, earlier, later) for earlier, later in itertools.combinations(systems, 2)]
    return {
        "name": SCORE_NAME,
        "slice": slice_name,
        "n": len(votes),
        "clusters": len(set(items)),
        "unit": "mean",
        "better": "higher",
        "errors": {},
        "arms": {system: estimate for system, estimate in estimates.items() if estimate},
        "differences": [difference for difference in differences if difference],
    }


def _estimate(votes: list[Vote], system: str) -> Estimate | None:
    system_votes = [vote for vote in votes if system in (vote["left"], vote["right"])]
    points = [vote_points(vote, system) for vote in system_votes]
    return (
        intervals.mean_interval(points, [vote["item"] for vote in system_votes], bounded=True) if system_votes else None
    )


def _difference(votes: list[Vote], earlier: str, later: str) -> Difference | None:
    pair_votes = [vote for vote in votes if {vote["left"], vote["right"]} == {later, earlier}]
    points: dict[str, Sequence[float]] = {
        name: [vote_points(vote, name) for vote in pair_votes] for name in (later, earlier)
    }
    items = [vote["item"] for vote in pair_votes]
    return intervals.paired_difference(later, earlier, points, items) if pair_votes else None


def compare_pairs(votes: Sequence[Vote], arms: Sequence[str] = ()) -> list[PairResult]:
    """Return, for every two systems, the items won, lost and tied by the later one, and the evidence of a preference.

    With several pairs, one may reach the threshold by chance: the threshold is multiplied by the number of pairs.
    """
    valid = valid_votes(votes)
    pairs = list(itertools.combinations(arms or votes[0]["arms"], 2))
    return [_compare_pair(valid, earlier, later, e_process.THRESHOLD * len(pairs)) for earlier, later in pairs]


def _compare_pair(votes: list[Vote], earlier: str, later: str, threshold: float) -> PairResult:
    """Count the items where ``later`` has more votes than ``earlier``, fewer, or as many (tied; bad if all said so)."""
    items: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        if {vote["left"], vote["right"]} == {later, earlier}:
            items[vote["item"]].append(vote)
    margins = [sum(vote_points(vote, later) - 0.5 for vote in item_votes) for item_votes in items.values()]
    wins, losses = sum(margin > 0 for margin in margins), sum(margin < 0 for margin in margins)
    bad = sum(all(vote["choice"] == "both bad" for vote in item_votes) for item_votes in items.values())
    items_needed: NeededItems | None = {"half": None, "most": None}  # before the first winner
    if wins + losses:  # the forecast is of items with a winner: assume that the share of ties stays
        items_needed = e_process.votes_needed(wins, losses, threshold)
        items_needed = e_process.scale_votes(items_needed, (len(items) + 1) / (wins + losses + 1))
    return {
        "of": later,
        "minus": earlier,
        "items": len(items),
        "wins": wins,
        "losses": losses,
        "ties": len(items) - wins - losses - bad,
        "both_bad": bad,
        "evidence": e_process.evidence(wins, losses),
        "threshold": threshold,
        "needed": items_needed,
    }


def _verdict(pairs: list[PairResult], subject: str) -> VoteVerdict:
    """Compare the subject with every other system: it is better than all, or worse than one, or nobody can tell."""
    subject_pairs = [pair for pair in pairs if pair["of"] == subject]
    by_verdict: dict[str, list[PairResult]] = {WORSE: [], CANNOT_TELL: [], BETTER: []}
    for pair in subject_pairs:
        if pair["evidence"] < pair["threshold"]:
            by_verdict[CANNOT_TELL].append(pair)
        else:
            by_verdict[BETTER if pair["wins"] > pair["losses"] else WORSE].append(pair)
    verdict = next(name for name, verdict_pairs in by_verdict.items() if verdict_pairs)
    pair = min(by_verdict[verdict], key=lambda pair: pair["wins"] - pair["losses"])
    return {
        "verdict": verdict,
        "subject": subject,
        "rival": pair["minus"],
        "evidence": pair["evidence"],
        "threshold": pair["threshold"],
        "items_needed": pair["needed"],
        "n": pair["items"],
        "wins": pair["wins"],
        "losses": pair["losses"],
    }


# --- the voters -----------------------------------------------------------------------------------------------------


def _self_agreement(votes: Sequence[Vote], voter: str) -> Estimate | None:
    """How often a voter chose the same when a pair was shown again with its sides swapped."""
    by_key = {vote_key(vote): vote for vote in votes if vote["by"] == voter}
    hits = []
    for (item, pair, repeat), vote in by_key.items():
        earlier = by_key.get((item, pair, False))
        if repeat and earlier:
            hits.append((winner(earlier) or earlier["choice"]) == (winner(vote) or vote["choice"]))
    return _share(hits)


def _left_share(votes: list[Vote], voter: str) -> Estimate | None:
    """The share of a voter's votes with a winner that went to the left answer."""
    return _share([vote["choice"] == "left" for vote in votes if vote["by"] == voter and winner(vote)])


def _longer_share(votes: list[Vote], voter: str) -> Estimate | None:
    """The share of a voter's votes with a winner that went to the longer answer; equal lengths are left out."""
    hits = []
    for vote in votes:
        left, right = vote["lengths"]
        if vote["by"] == voter and winner(vote) and left != right:
            hits.append((left > right) == (vote["choice"] == "left"))
    return _share(hits)


def _share(hits: list[bool]) -> Estimate | None:
    return (
        intervals.share_interval([float(is_hit) for is_hit in hits], list(map(str, range(len(hits))))) if hits else None
    )


def _agreement(votes: list[Vote], first: str, second: str, systems: list[str]) -> Agreement:
    """Two voters on the pairs that both judged: the share of equal choices, and Cohen's kappa (statsmodels).

    A choice is the pair's earlier system, its later system, tie or both bad. With three systems, their names would
    tell which pair was shown, and two voters have that in common whatever they think.
    """
    first_votes, second_votes = (
        {vote_key(vote): _position(vote, systems) for vote in votes if vote["by"] == voter} for voter in (first, second)
    )
    choices = [(choice, second_votes[key]) for key, choice in first_votes.items() if key in second_votes]
    share = _share([first_choice == second_choice for first_choice, second_choice in choices])
    kappa, low, high = _kappa(choices)
    return {"raters": [first, second], "n": len(choices), "share": share, "kappa": kappa, "low": low, "high": high}


def _position(vote: Vote, systems: list[str]) -> str:
    chosen_system = winner(vote)
    if chosen_system is None:
        return vote["choice"]
    earlier = min(vote["left"], vote["right"], key=systems.index)
    return "earlier" if chosen_system == earlier else "later"


def _kappa(choices: list[tuple[str, str]]) -> tuple[float | None, float | None, float | None]:
    """Cohen's kappa and its interval; None if all choices are equal. No interval below ten pairs, or of width 0."""
    import numpy as np
    from statsmodels.stats.inter_rater import cohens_kappa

    categories = sorted({choice for pair in choices for choice in pair})
    if len(choices) < 2 or len(categories) < 2:
        return None, None, None
    table = np.zeros((len(categories), len(categories)))
    for first_choice, second_choice in choices:
        table[categories.index(first_choice), categories.index(second_choice)] += 1
    result = cohens_kappa(table)
    has_interval = len(choices) >= MIN_KAPPA_PAIRS and result.std_kappa > 1e-9
    low, high = (float(result.kappa_low), float(result.kappa_upp)) if has_interval else (None, None)
    return float(result.kappa), low, high


def _notes(votes: Sequence[Vote], valid: list[Vote], voters: list[str]) -> list[str]:
    notes = []
    if valid and not any(winner(vote) for vote in valid):
        notes.append("Every vote is a tie or both bad: no system is preferred.")
    if n_unblinded := sum(vote["unblinded"] for vote in votes):
        notes.append(f"{n_unblinded} of {len(votes)} votes were cast after looking who is who: they don't count.")
    if n_repeats := sum(vote["repeat"] for vote in votes):
        share = f"{n_repeats} of {len(votes)} votes"
        notes.append(f"Shown again with sides swapped, to measure the voter, and not counted: {share}.")
    if len(valid) > len({vote_key(vote) for vote in valid}):
        notes.append("Several people judged the same answers: the evidence counts items, not votes.")
    if len(voters) == 1:
        notes.append("There is one voter: the results show one person's taste.")
    return notes

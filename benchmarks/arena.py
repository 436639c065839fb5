"""Does the blind arena find winners between equals, are its sides fair, and how many votes does it take?

    python benchmarks/arena.py --out benchmarks/results/arena.json --sessions 10000

Simulated voters go through real plans (``Comparison.plan``) and look at the evidence after every vote. Between equals:
a voter who tosses a coin, one who takes the left seven times in ten, one who calls three in ten a tie, one who likes
longer answers; three arms; five raters of like taste. Beside it, for contrast, an exact binomial test looked at as
often. Then voters with a true preference.
"""

import argparse
import random
import time
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from etabli.core import storage
from etabli.review import e_process
from etabli.review.pairs import AnswerPair, Comparison, Item
from etabli.review.results import compare_pairs

ARMS = ("base", "tuned")
ITEMS = 200
RATES = (0.55, 0.60, 0.65, 0.70, 0.80)
MOST = 1000


def contest(luck: random.Random, n: int) -> Comparison:
    """Answers of random lengths, from both arms alike."""
    return Comparison(
        ARMS,
        tuple(Item(str(at), "p", {arm: arm[0] * luck.randint(5, 400) for arm in ARMS}) for at in range(n)),
    )


def coin(now: AnswerPair, luck: random.Random) -> str:
    """Tosses a coin."""
    return luck.choice(["left", "right"])


def leftist(now: AnswerPair, luck: random.Random) -> str:
    """Takes the left seven times in ten."""
    return "left" if luck.random() < 0.7 else "right"


def undecided(now: AnswerPair, luck: random.Random) -> str:
    """Calls three in ten a tie."""
    return "tie" if luck.random() < 0.3 else coin(now, luck)


def longer(now: AnswerPair, luck: random.Random) -> str:
    """Likes the longer answer, whose it may be."""
    left, right = (len(now.item.answers[arm]) for arm in (now.left, now.right))
    return "left" if left > right else "right"


NULL = {"coin": coin, "left 7 of 10": leftist, "3 of 10 ties": undecided, "likes longer": longer}


def session(voter, held: Comparison, name: str, luck: random.Random) -> tuple[bool, bool, float, list[dict]]:
    """Did the evidence, or the binomial test, name a winner at any vote; the tuned arm's share of left sides; votes."""
    wins = losses = 0
    told = naive = False
    votes = []
    for now in held.plan(name):
        choice = voter(now, luck)
        votes.append(
            {
                "arms": list(ARMS),
                "item": now.item.id,
                "left": now.left,
                "right": now.right,
                "choice": choice,
                "repeat": now.repeat,
                "by": name,
                "unblinded": False,
            }
        )
        winner = {"left": now.left, "right": now.right}.get(choice)
        if now.repeat or winner is None:
            continue
        wins, losses = wins + (winner == "tuned"), losses + (winner == "base")
        told = told or e_process.evidence(wins, losses) >= e_process.THRESHOLD
        naive = naive or max(wins, losses) >= CRITICAL[wins + losses]
    return told, naive, np.mean([vote["left"] == "tuned" for vote in votes]), votes


def critical(most: int) -> list[int]:
    """From how many wins on a two-sided exact test says p < 0.05."""
    return [
        next((w for w in range((n + 1) // 2, n + 1) if binomtest(w, n).pvalue < 0.05), n + 1) if n else 1
        for n in range(most + 1)
    ]


CRITICAL = critical(ITEMS)


def between_equals(sessions: int) -> dict:
    """Sessions in which a winner was named though there is none."""
    made, left = {}, []
    for kind, voter in NULL.items():
        luck = random.Random(f"null {kind}")
        told = naive = 0
        for number in range(sessions // len(NULL)):
            # A contest of its own every time, so that no voter sees another's plan.
            one, other, share, votes = session(voter, contest(luck, ITEMS), f"{kind} {number}", luck)
            told, naive = told + one, naive + other
            left.append(share)
            if number < 20:  # the arena's own count of the same votes
                pair = compare_pairs(votes)[0]
                firsts = [vote for vote in votes if not vote["repeat"]]
                won = sum(vote.get(vote["choice"]) == "tuned" for vote in firsts)
                assert pair["wins"] == won and pair["evidence"] == e_process.evidence(won, pair["losses"])
        count = sessions // len(NULL)
        made[kind] = {"sessions": count, "false_wins": told / count, "binomial_false_wins": naive / count}
    every = float(np.mean([one["false_wins"] for one in made.values()]))  # as many sessions of each
    low, high = np.quantile(left, [0.025, 0.975])
    sides = {"mean": float(np.mean(left)), "low": float(low), "high": float(high)}
    return {"votes_each": ITEMS, "false_wins": every, "by_voter": made, "tuned_on_the_left": sides}


def three_arms(sessions: int) -> dict:
    """Coins on three alike arms, 100 prompts: did any pair of arms reach its threshold at any vote?"""
    luck, arms = random.Random("three"), ("a", "b", "c")
    held = Comparison(arms, tuple(Item(str(at), "p", {arm: f"{arm}{at}" for arm in arms}) for at in range(100)))
    told = 0
    for number in range(sessions):
        tally: Counter = Counter()
        reached = False
        for now in held.plan(f"three {number}", 0):
            pair = tuple(sorted((now.left, now.right)))
            tally[pair, luck.random() < 0.5] += 1
            reached = reached or e_process.evidence(tally[pair, True], tally[pair, False]) >= 3 * e_process.THRESHOLD
        told += reached
    return {"sessions": sessions, "prompts": 100, "false_wins": told / sessions}


def pooled(sessions: int) -> dict:
    """Five raters who agree on which answer is better, though not on whose: 60 prompts, looked at after each.

    By items, as the arena counts; and as if each of the 300 votes were a coin of its own.
    """
    luck = np.random.default_rng(7)
    by_items = by_votes = 0
    for _ in range(sessions):
        taste = luck.random(60) < 0.5  # which arm wrote the better answer to each prompt
        agree = luck.random((60, 5)) < 0.8
        for_one = np.where(taste[:, None], agree, ~agree)
        won = (for_one.sum(1) > 2).cumsum()
        by_items += _reached(won, np.arange(1, 61))
        by_votes += _reached(for_one.sum(1).cumsum(), 5 * np.arange(1, 61))
    return {
        "sessions": sessions,
        "prompts": 60,
        "raters": 5,
        "false_wins": by_items / sessions,
        "false_wins_if_votes_were_coins": by_votes / sessions,
    }


def _reached(won, votes) -> bool:
    return bool((np.maximum(won, votes - won) >= e_process.boundary(e_process.THRESHOLD)[votes]).any())


def votes_needed(sessions: int) -> list[dict]:
    """Votes with a winner until the evidence tells, at true win rates."""
    luck = np.random.default_rng(0)
    bound = e_process.boundary(e_process.THRESHOLD)[1 : MOST + 1]
    made = []
    for rate in RATES:
        won = (luck.random((sessions, MOST)) < rate).cumsum(1)
        votes = np.arange(1, MOST + 1)
        told = np.maximum(won, votes - won) >= bound
        first = np.where(told.any(1), told.argmax(1) + 1, MOST + 1)
        right = [won[at, stop - 1] * 2 > stop for at, stop in enumerate(first) if stop <= MOST]
        parts = {name: _told(np.quantile(first, part)) for name, part in (("half", 0.5), ("nine_in_ten", 0.9))}
        by = {f"told_by_{count}": float((first <= count).mean()) for count in (100, 400)}
        made.append({"rate": rate, **parts, **by, "wrong_winner": 1 - float(np.mean(right))})
    return made


def _told(votes: float) -> int | None:
    return None if votes > MOST else int(votes)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sessions", type=int, default=10_000)
    given = parser.parse_args()
    began = time.monotonic()
    made = {
        "between_equals": between_equals(given.sessions),
        "three_arms": three_arms(given.sessions // 4),
        "pooled": pooled(given.sessions),
        "votes_needed": votes_needed(given.sessions),
    }
    storage.write_json(given.out, made | {"sessions": given.sessions, "seconds": round(time.monotonic() - began)})
    print(storage.to_json(made, indent=1))


if __name__ == "__main__":
    main()

"""How far the probabilities of two models are apart along an answer; each place lists the likeliest tokens."""

import math
import statistics

LogProbabilities = list[dict[int, float]]  # at each place of an answer, by token, in nats


def mean_kl(judged: list[LogProbabilities], told: list[LogProbabilities]) -> float:
    """KL(judged || form), nats a token, at least: see ``bound_kl``."""
    places = [(p, q) for talk, own in zip(judged, told) for p, q in zip(talk, own)]
    return statistics.mean(bound_kl(p, q) for p, q in places)


def bound_kl(judged: dict[int, float], own: dict[int, float]) -> float:
    """Return a lower bound of KL(judged || own) in nats, from the likeliest tokens of both and their log-probabilities.

    A token that ``own`` does not list has at most the probability of the last one that it lists; all tokens that
    ``judged`` does not list are one. Both can only make the sum smaller. Infinite if ``own`` holds what is no number.
    """
    if not all(map(math.isfinite, own.values())):
        return math.inf
    least = min(own.values())
    total = sum(math.exp(p) * (p - own.get(token, least)) for token, p in judged.items())
    rest = max(1e-9, 1 - sum(map(math.exp, judged.values())))
    own_rest = max(1e-9, 1 - sum(math.exp(own[token]) for token in judged.keys() & own.keys()))
    return max(0.0, total + rest * math.log(rest / own_rest))


def lead_of(judged: dict[int, float]) -> float | None:
    """Return by how much the likeliest token leads the next one, in nats; None if only one is listed."""
    first, *rest = sorted(judged.values(), reverse=True)[:2]
    return first - rest[0] if rest else None


def largest_change(answers: list[list[int]], judged: list[LogProbabilities], own: list[LogProbabilities]) -> float:
    """Return the largest change of a judged token's log-probability; of one that is not listed, at least so much."""
    changes = [
        abs(p[token] - q.get(token, min(q.values())))
        for answer, judged_places, own_places in zip(answers, judged, own)
        for token, p, q in zip(answer, judged_places, own_places)
        if token in p
    ]
    return max(changes, default=0.0)

"""Questions of a chat with their answers: as the page gets them, and as static HTML."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from etabli_widgets.markup import Markup, answer, cut_mark, element, fragment

SETTINGS = ("temperature", "seed", "strength")
DEFAULTS = {"temperature": 0.0, "seed": 0, "strength": 1.0}  # settings that are not shown
CHOICES = {"left": "{left} is better", "right": "{right} is better", "tie": "a tie", "both bad": "both bad"}


def shorten_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry of the chat file in the form that ``history`` has.

    ``id``, ``after`` (the question that it goes on from), ``cut`` (the sides whose answer reached its greatest length)
    and ``stopped`` (those that a person stopped) only stand there if there is something to say.
    """
    answers = entry["answers"]
    ends = {end: [side for side, figures in answers.items() if figures.get(end)] for end in ("cut", "stopped")}
    extras = {"id": entry.get("id"), "after": entry.get("after"), **ends}
    return {
        "prompt": entry["prompt"],
        "answers": {side: figures["text"] for side, figures in answers.items()},
        "settings": {name: entry[name] for name in SETTINGS if name in entry},
        **{name: value for name, value in extras.items() if value},
    }


def group_votes(votes: Iterable[Mapping[str, Any]]) -> dict[str, list[dict[str, str]]]:
    """Return votes by the question that they are on; of two votes on one pair the first counts."""
    by_question: dict[str, list[dict[str, str]]] = {}
    for vote in votes:
        earlier = by_question.setdefault(vote["item"], [])
        if find_vote(earlier, vote["left"], vote["right"]) is None:
            earlier.append({name: vote[name] for name in ("left", "right", "choice")})
    return by_question


def find_vote(votes: Iterable[Mapping[str, str]], left: str, right: str) -> Mapping[str, str] | None:
    """Return the vote on two sides, or None."""
    return next((vote for vote in votes if (vote["left"], vote["right"]) == (left, right)), None)


def list_rivals(entry: Mapping[str, Any], sides: Sequence[str]) -> list[str]:
    """Return the sides that the last of ``sides`` can be judged against in an entry: those that answered, unstopped.

    None if the judged side itself was stopped, or never asked: its answer is not what it would have said.
    """
    whole = [side for side in sides if side in entry["answers"] and side not in entry.get("stopped", [])]
    return whole[:-1] if whole[-1:] == [sides[-1]] else []


def make_vote(
    entry: Mapping[str, Any], sides: Sequence[str], earlier: Sequence[Mapping[str, str]], choice: str, against: str = ""
) -> dict[str, str]:
    """Return the vote on the last side (right) against another one (left; by default the one before the last).

    Args:
        entry: the question with its answers.
        sides: the names of the chat's sides; the last is judged.
        earlier: the votes on this entry.
        choice: the name of the better side, or a choice of the arena.
        against: the side that it is compared with.

    Raises:
        ValueError: there is no such side or choice, or a vote on this pair already, or an answer was stopped.
    """
    judged, others = sides[-1], list_rivals(entry, sides)
    stopped = [side for side in (against, judged) if side in entry.get("stopped", [])]
    if stopped or judged not in entry["answers"]:
        raise ValueError(f"{' and '.join(stopped) or judged} was stopped before its answer was whole: ask again.")
    rival = against or (others or [""])[-1]
    choice = {rival: "left", judged: "right"}.get(choice, choice)
    if rival not in others or choice not in CHOICES:
        raise ValueError(f"Choose {judged}, one of {', '.join(others) or 'no other side'}, tie or both bad.")
    if find_vote(earlier, rival, judged):
        raise ValueError(f"You have voted on {judged} against {rival} here: the first vote stays.")
    return {"left": rival, "right": judged, "choice": choice}


def measure_speed(count: int, first: float | None, seconds: float) -> dict[str, Any]:
    """Return tokens, tokens a second and seconds to the first token. The speed leaves out that first token.

    The first token waits until the whole prompt is read.
    """
    seconds_after_first = seconds - (first or 0.0)
    return {
        "tokens": count,
        "tokens_per_s": round((count - 1) / max(1e-6, seconds_after_first), 1) if count > 1 else None,
        "first_s": None if first is None else round(first, 3),
    }


def entry_row(entry: Mapping[str, Any], names: Sequence[str], votes: Sequence[Mapping[str, str]]) -> list[Markup]:
    """Return the cells of an entry in the table of the twin: the question with its settings and votes, the answers."""
    settings = [f"{name} {value}" for name, value in entry.get("settings", {}).items() if value != DEFAULTS.get(name)]
    lines = [", ".join(settings), "goes on from the question before" if entry.get("after") else ""]
    lines += [_describe_vote(vote) for vote in votes]
    question = fragment(entry["prompt"], (element("div", element("small", line)) for line in lines if line))
    return [question, *(_answer_cell(entry, name) for name in names)]


def _answer_cell(entry: Mapping[str, Any], name: str) -> Markup:
    mark = fragment(" ", cut_mark()) if name in entry.get("cut", []) else None
    stopped = element("small", " stopped") if name in entry.get("stopped", []) else None
    return fragment(answer(entry["answers"].get(name, "")), mark, stopped)


def _describe_vote(vote: Mapping[str, str]) -> str:
    choice = CHOICES[vote["choice"]].format(left=vote["left"], right=vote["right"])
    return f"vote on {vote['right']} against {vote['left']}: {choice}"

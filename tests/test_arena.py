"""The blind arena: honest sides, votes that are not lost, a test that may be watched, voters that are told apart."""

import itertools
import json
import math
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etabli.core import journal
from etabli.core.contracts import CHOICES, ArenaReport, Vote, VoteProgress, VoteResults
from etabli.core.errors import BadData, BadInput
from etabli.review import answers, bradley_terry, e_process, report, votes
from etabli.review.pairs import Comparison, Item
from etabli.review.results import summarise_votes
from etabli.review.session import Session, open_session

ARMS = ("base", "tuned")


def contest(n=40, arms=ARMS, same=()):
    made = [
        Item(f"i{at}", f"prompt {at}", {arm: "the same" if at in same else f"{arm}'s {at}" for arm in arms})
        for at in range(n)
    ]
    return Comparison(tuple(arms), tuple(made))


def session(path, n=40, author="ann", arms=ARMS, **how):
    return Session(contest(n, arms), path / "votes.jsonl", author, **how)


def cast(held, choice):
    held.current_pair()
    return held.vote(choice)


def favour(held, arm, rate=1.0, luck=None, most=10**9):
    """Vote to the end: for an arm, or so often for it."""
    luck = luck or random.Random(0)
    for _ in range(most):
        if (now := held.current_pair()) is None:
            return
        wanted = arm if luck.random() < rate else (now.right if now.left == arm else now.left)
        cast(held, "left" if now.left == wanted else "right")


# --- what is shown --------------------------------------------------------------------------------------------------


def test_a_plan_shows_every_pair_once_and_repeats_later_with_sides_swapped():
    plan = contest(100).plan("ann")
    assert plan == contest(100).plan("ann") != contest(100).plan("bob")
    first = [one for one in plan if not one.repeat]
    assert Counter(one.item.id for one in first) == Counter(f"i{at}" for at in range(100))
    again = [one for one in plan if one.repeat]
    assert 10 <= len(again) <= 15
    for one in again:
        before = next(at for at, other in enumerate(plan) if other.item == one.item and not other.repeat)
        assert plan.index(one) - before >= 6 and (plan[before].left, plan[before].right) == (one.right, one.left)


def test_with_three_arms_every_pair_of_arms_is_shown_for_every_item():
    plan = contest(9, ("a", "b", "c")).plan("x", repeats=0)
    assert len({one.key for one in plan}) == len(plan) == 27
    assert {one.item.id for one in plan[:9]} == {f"i{at}" for at in range(9)}, "a round of items for each pair"


def test_answers_that_are_the_same_are_not_shown():
    held = contest(10, same={0, 3})
    assert held.count_same_answers() == 2 and not {"i0", "i3"} & {one.item.id for one in held.plan("x")}


def test_rows_that_are_equal_are_shown_once(tmp_path):
    """Two equal rows have one id, since it is a hash of what they say."""
    row = {"id": "a", "lang": "en", "prompt": "Where is it?", "answers": {"base": "Here.", "tuned": "There."}}
    other_draw = row | {"answers": {"base": "Here.", "tuned": "Away."}}  # one question, another batch
    results = {
        "arms": [*ARMS],
        "rivals": ["base"],
        "subject": "tuned",
        "rows": [row, row, other_draw, {**row, "id": "b"}],
    }
    voting = open_session(results, votes=tmp_path / "votes.jsonl", author="ann")
    assert [item.id for item in voting.comparison.items] == ["a", "a~2"]
    assert voting.notes == ["Not shown again, with prompt and answers of an earlier row: 2 rows."]
    favour(voting, "tuned")
    assert voting.vote_count == 2 and voting.reveal()["votes"] == 2


@given(st.integers(0, 40), st.text(max_size=5), st.floats(0, 1), st.integers(2, 4))
def test_any_plan_is_whole(n, voter, repeats, arms):
    plan = contest(n, [f"arm{at}" for at in range(arms)]).plan(voter, repeats)
    assert len({one.key for one in plan}) == len(plan)
    assert sum(not one.repeat for one in plan) == n * math.comb(arms, 2)


def test_which_side_is_a_fair_coin_at_every_place():
    shown = [[one.left == "tuned" for one in contest(30).plan(f"v{at}", 0)] for at in range(2000)]
    share = np.mean(shown, axis=0)
    assert abs(np.mean(shown) - 0.5) < 0.03 and np.all(abs(share - 0.5) < 0.06)
    after = [row[at + 1] == row[at] for row in shown for at in range(29)]
    assert abs(np.mean(after) - 0.5) < 0.02, "a side tells nothing of the next"


def test_the_hash_is_of_what_was_answered_not_of_the_order():
    one = contest(5)
    assert Comparison(("tuned", "base"), one.items[::-1]).hash == one.hash != contest(6).hash
    changed = Comparison(ARMS, (Item("i0", "prompt 0", {"base": "x", "tuned": "y"}), *one.items[1:]))
    assert changed.hash != one.hash


# --- voting ---------------------------------------------------------------------------------------------------------


def test_a_session_goes_on_where_it_was_left(tmp_path):
    held = session(tmp_path)
    for choice in ("left", "right", "tie", "both bad"):
        cast(held, choice)
    later = session(tmp_path)
    assert later.vote_count == 4 and later.current_pair() == held.current_pair()
    assert [vote["choice"] for vote in later.own_votes()] == ["left", "right", "tie", "both bad"]
    assert set(Vote.__annotations__) == set(later.own_votes()[0])
    favour(later, "tuned")
    assert later.current_pair() is None
    with pytest.raises(BadInput, match=r"All 4[0-9] pairs are voted on"):
        cast(later, "left")


def test_what_a_voter_watches_tells_nothing_of_whose_the_votes_were(tmp_path):
    """One votes for tuned, another for base, at the same places: what they are told must be the same, word for word."""
    seen = {}
    for name, arm in (("ann", "tuned"), ("bob", "base")):
        held = Session(contest(40), tmp_path / f"{name}.jsonl", name, 0)
        seen[name] = []
        while held.current_pair():
            favour(held, arm if held.vote_count % 3 else ("base" if arm == "tuned" else "tuned"), most=1)
            seen[name].append((held.progress(), held.progress_text()))
    assert seen["ann"] == seen["bob"]
    assert set(seen["ann"][0][0]) == set(VoteProgress.__annotations__)
    texts = " ".join(text for _, text in seen["ann"])
    assert "tuned" not in texts and "base" not in texts
    told = [watch["evidence"] for watch, _ in seen["ann"]]
    assert told[:9] == [None] * 9 and len(set(told)) == 5, "it moves on every ten votes: a step tells who won the last"


def test_a_code_path_that_votes_names_nobody(tmp_path):
    from etabli_widgets import BlindArena

    arena = BlindArena(session(tmp_path))
    assert set(arena.vote("left")) == {"choice", "lengths", "seconds"}


def test_two_windows_of_one_voter(tmp_path):
    """What was voted on in another window is refused here, and the next pair is shown: no vote on what nobody saw."""
    from etabli_widgets import BlindArena

    one, other = BlindArena(session(tmp_path)), BlindArena(session(tmp_path))
    assert one.pair == other.pair
    other.received({"type": "vote", "choice": "right", "number": 1})
    one.received({"type": "vote", "choice": "left", "number": 1})
    kept = session(tmp_path).own_votes()
    assert len(kept) == 1 and kept[0]["choice"] == "right"
    assert "another window" in one.error and one.pair == other.pair and one.heard == 1
    one.received({"type": "vote", "choice": "left", "number": 2})
    assert not one.error and len(session(tmp_path).own_votes()) == 2


def test_the_same_vote_of_two_kernels_counts_once(tmp_path):
    held = session(tmp_path)
    twin = {**cast(held, "left"), "id": "another", "choice": "right"}
    held.file.add(twin)
    assert len(held.own_votes()) == 1 and held.reveal()["pairs"][0]["items"] == 1


def test_the_tuned_model_meets_the_prompted_base_unless_it_is_chosen(tmp_path):
    """The base asked plainly gives itself away by its form. Where nobody prompted it, it is the rival all the same."""
    said = {name: f"{name}'s" for name in ("base", "prompted", "lookup", "tuned")}
    known = {"arms": [*said], "rivals": ["base", "prompted", "lookup"], "subject": "tuned"}
    rows = [{"id": "a", "lang": "en", "prompt": "Where?", "answers": said, "cut": ["prompted", "lookup"]}]
    default = answers.comparison_from_results({**known, "rows": rows})
    assert default.arms == ("prompted", "tuned") and default.items[0].cut == ("prompted",)
    assert answers.comparison_from_results({**known, "rows": rows}, ["base", "tuned"]).arms == ("base", "tuned")
    assert answers.comparison_from_results({**known, "arms": ["base", "tuned"], "rows": rows}).arms == ("base", "tuned")
    uncut = answers.comparison_from_results({**known, "rows": [{**rows[0], "cut": []}]})
    assert uncut.hash == default.hash, "votes on the same answers count further"


def with_lengths(path, first, second):
    items = [Item(f"i{at}", f"p{at}", {"base": first(at), "tuned": second(at)}) for at in range(10)]
    held = Session(Comparison(ARMS, tuple(items)), path / "votes.jsonl", "ann", 0)
    favour(held, "tuned")
    return held.reveal()["said"]


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (lambda at: "", lambda at: f"some {at}", "base's answer is empty in 10 of 10 pairs"),
        (lambda at: f"word {at}", lambda at: f"word {at} " * (9 if at else 1), "tuned's answer is at least 3 times"),
        (lambda at: f"word {at}", lambda at: f"word {at}! " * (9 if at > 4 else 1), None),
        (lambda at: f"word {at}", lambda at: f"other {at}", None),
    ],
)
def test_systems_that_show_who_they_are_are_named_after_the_votes(tmp_path, first, second, told):
    sentences = [text for text in with_lengths(tmp_path, first, second) if "told apart" in text]
    assert len(sentences) == (told is not None) and all(told in text for text in sentences)


def test_after_the_last_vote_the_arena_says_who_was_who(tmp_path):
    from etabli_widgets import BlindArena

    arena = BlindArena(session(tmp_path, n=8, repeats=0))
    while arena.pair:
        assert "tuned" not in str({**arena.get_state(), "_esm": "", "_css": "", "pair": ""}) and not arena.told
        assert "names" not in arena.pair
        arena.vote("left")
    assert arena.told["compared"] == "You compared base with tuned." and arena.told["compared"] in arena.html()
    again = BlindArena(session(tmp_path, n=8, repeats=0))
    assert again.told["verdict"] == arena.told["verdict"], "also in a new kernel"


def test_who_has_looked_sees_the_names_also_in_a_new_kernel(tmp_path):
    from etabli_widgets import BlindArena

    arena = BlindArena(session(tmp_path))
    arena.vote("left")
    arena.look()
    again = BlindArena(session(tmp_path))
    assert {*again.pair["names"]} == {*arena.pair["names"]} == {"base", "tuned"} and again.told


def test_the_judged_arm_is_the_one_named_last(tmp_path):
    favour(session(tmp_path, n=30), "tuned")
    turned = Session(Comparison(("tuned", "base"), contest(30).items), tmp_path / "votes.jsonl", "ann")
    assert turned.current_pair() is None, "the same answers, the same plan"
    made = turned.reveal()["verdict"]["all"]
    assert (made["subject"], made["verdict"]) == ("base", "worse")


def test_votes_after_looking_say_so(tmp_path):
    held = session(tmp_path)
    cast(held, "tie")
    made = held.reveal()
    assert set(made) == set(VoteResults.__annotations__) and "Every vote is a tie or both bad" in " ".join(made["said"])
    assert session(tmp_path).is_revealed, "also in a new kernel"
    cast(session(tmp_path), "left")
    assert [vote["unblinded"] for vote in held.own_votes()] == [False, True]
    assert "1 of 2 votes were cast after looking who is who: they don't count" in " ".join(held.reveal()["said"])


def test_a_killed_process_loses_no_vote(tmp_path):
    code = (
        "import os, sys\nfrom etabli.review.session import Session\nfrom etabli.review.pairs import Comparison, Item\n"
        "items = tuple(Item(str(n), str(n), {'a': f'a{n}', 'b': f'b{n}'}) for n in range(500))\n"
        f"held = Session(Comparison(('a', 'b'), items), {str(tmp_path / 'v.jsonl')!r}, 'x', 0)\n"
        "for n in range(500):\n    held.current_pair()\n    print(held.vote('left')['id'], flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    told = [child.stdout.readline().strip() for _ in range(30)]
    child.kill()
    told += child.stdout.read().split()
    kept = [vote["id"] for vote in journal.Journal(tmp_path / "v.jsonl", votes.is_vote).all()]
    assert kept[: len(told)] == told and len(kept) - len(told) in (0, 1)


def test_votes_on_other_answers_are_left_alone(tmp_path):
    held = session(tmp_path)
    favour(held, "tuned", most=3)
    other = session(tmp_path, n=12)
    assert other.vote_count == 0 and "3 votes in" in other.notes[0]
    cast(other, "left")
    assert session(tmp_path).vote_count == 3


def test_a_session_of_few_pairs_promises_no_progress(tmp_path):
    short, long = session(tmp_path, n=9, repeats=0.2), session(tmp_path, n=10, repeats=0.2)
    assert short.total == 11 and "too short" in short.progress_text()
    assert "after every 10 votes" in long.progress_text()
    favour(short, "tuned")
    assert "too short" in short.progress_text() and short.progress()["evidence"] is None
    notes = " ".join(short.reveal()["said"])
    assert "2 of 11 votes" in notes and "shown again" in notes.lower()


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    from etabli.core import json_lines
    from etabli.core.errors import NoSpace

    held = session(tmp_path)
    cast(held, "left")

    def full(path, line):
        raise NoSpace("The disk is full")

    monkeypatch.setattr(json_lines, "append", full)
    with pytest.raises(NoSpace):
        cast(held, "left")
    monkeypatch.undo()
    assert held.vote_count == 1 and cast(held, "right")["choice"] == "right"


def test_what_was_not_shown_is_not_voted_on(tmp_path):
    held = session(tmp_path)
    with pytest.raises(BadInput, match="No pair was shown yet"):
        held.vote("left")
    held.current_pair()
    held.vote("left")
    with pytest.raises(BadInput, match="No pair was shown yet"):
        held.vote("left")
    assert len(held.own_votes()) == 1


def test_the_watch_moves_on_votes_that_have_a_winner(tmp_path):
    """Nine ties between two looks would leave one vote that made the difference."""
    held = session(tmp_path, n=200)
    luck, told = random.Random(0), []
    while held.current_pair():
        cast(held, luck.choice(["tie", "tie", "both bad", "left", "right"]))
        told.append(held.progress()["evidence"])
    decided = sum(votes.winner(vote) is not None and not vote["repeat"] for vote in held.own_votes())
    assert len({value for value in told if value}) <= decided // 10 + 1
    changes = [at for at, (one, other) in enumerate(itertools.pairwise(told)) if one != other]
    between = [
        sum(votes.winner(vote) is not None and not vote["repeat"] for vote in held.own_votes()[one + 1 : other + 1])
        for one, other in itertools.pairwise(changes)
    ]
    assert all(count >= 10 for count in between)


def test_bad_choices_and_shares_are_refused(tmp_path):
    with pytest.raises(BadInput, match="left, right, tie, both bad"):
        cast(session(tmp_path), "middle")
    with pytest.raises(BadInput, match="between 0 and 1"):
        session(tmp_path, repeats=2)


# --- where items come from ------------------------------------------------------------------------------------------


def test_answers_from_a_file(tmp_path):
    path = tmp_path / "answers.jsonl"
    lines = [{"prompt": f"p{n}", "answers": {"a": f"a{n} <b>", "b": "שלום 😀"}} for n in range(3)]
    path.write_text("\n".join(map(json.dumps, lines)))
    held = open_session(path, author="x")
    assert held.comparison.arms == ("a", "b") and held.total == 3 and held.file.path == tmp_path / "votes" / "x.jsonl"
    split = {"prompt": "a\u2028b\u0085c", "answers": {"a": "x", "b": "y"}}
    (tmp_path / "split.jsonl").write_text("\n".join(json.dumps(split, ensure_ascii=False) for _ in range(2)))
    assert len(answers.read_answers(tmp_path / "split.jsonl").items) == 2
    (tmp_path / "list.json").write_text(json.dumps(lines))
    assert answers.read_answers(tmp_path / "list.json").hash == held.comparison.hash


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5", "item 0"),
        ("[null]", "item 0"),
        ("[" * 100_000, "nested more than|not JSON|no JSON"),
        ("", "0 prompts"),
        ("[]", "0 prompts"),
        ('{"prompt": "p", "answers": {"a": "x"}}', "item 0"),
        ('{"prompt": 3, "answers": {"a": "x", "b": "y"}}', "item 0"),
        ('{"prompt": "p", "answers": {"a": "x", "b": "y"}}\n{"prompt": "q"', "line 2"),
        ('{"prompt": "p", "answers": {"a": "x", "b": "y"}}\n{"prompt": "q", "answers": {"a": "x", "c": "y"}}', "of b"),
        (json.dumps([{"id": 1, "prompt": "p", "answers": {"a": "x", "b": "y"}}] * 2), "several items"),
    ],
)
def test_a_file_that_is_no_list_of_answers(tmp_path, text, said):
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(BadData, match=said):
        open_session(tmp_path / "a.jsonl")


# --- the test that may be watched -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 7, 30, 101])
def test_between_equals_the_evidence_is_one_on_average(n):
    """The defining property: its expectation under a fair coin is 1, whatever the number of votes."""
    total = sum(math.comb(n, w) * 0.5**n * e_process.evidence(w, n - w) for w in range(n + 1))
    assert total == pytest.approx(1.0)
    step = [0.5 * e_process.evidence(w + 1, n - w) + 0.5 * e_process.evidence(w, n - w + 1) for w in range(n + 1)]
    assert step == pytest.approx([e_process.evidence(w, n - w) for w in range(n + 1)]), "and so at every next vote"


def test_watching_every_vote_finds_few_winners_between_equals():
    luck = np.random.default_rng(1)
    won = luck.integers(0, 2, (4000, 200)).cumsum(1)
    votes_ = np.arange(1, 201)
    bound = e_process.boundary(e_process.THRESHOLD)[1:201]
    share = (np.maximum(won, votes_ - won) >= bound).any(1).mean()
    assert 0.005 < share <= 0.05


def test_the_boundary_is_where_the_evidence_reaches_the_threshold():
    bound = e_process.boundary(20.0)
    for n in [*range(1, 60), 500, 1999]:
        w = int(bound[n])
        assert w > n or e_process.evidence(w, n - w) >= 20 - 1e-9
        if 0 < w <= n + 1 and w - 1 >= n - w + 1:
            assert e_process.evidence(w - 1, n - w + 1) < 20


def test_votes_needed_shrink_as_a_winner_shows():
    assert e_process.votes_needed(40, 5) is None
    close, clear = e_process.votes_needed(11, 9), e_process.votes_needed(16, 4)
    assert clear["half"] < close["half"] and clear == e_process.votes_needed(16, 4)
    assert e_process.votes_needed(1000, 1000)["half"] is None
    # Played on from 16 to 4 at 80 %, half of all sessions end within about as many.
    luck = np.random.default_rng(0)
    ends = []
    for _ in range(400):
        w, n = 16, 20
        while e_process.evidence(w, n - w) < 20 and n < 400:
            w, n = w + (luck.random() < luck.beta(21, 9)), n + 1
        ends.append(n - 20)
    assert abs(np.median(ends) - clear["half"]) <= max(4, 0.5 * clear["half"])


# --- what votes say -------------------------------------------------------------------------------------------------


def test_a_clear_winner_a_loser_and_all_ties(tmp_path):
    for name, arm, said in (("a", "tuned", "better"), ("b", "base", "worse")):
        held = session(tmp_path, author=name)
        favour(held, arm)
        made = held.reveal()
        assert made["verdict"]["all"]["verdict"] == said
        assert made["self_agreement"][name]["value"] == 1.0 and made["scores"][0]["arms"][arm]["value"] == 1.0
    ties = session(tmp_path, author="c")
    while ties.current_pair():
        cast(ties, "tie")
    made = ties.reveal()
    assert made["verdict"]["all"]["verdict"] == "cannot tell" and made["pairs"][0]["ties"] == 40
    gap = made["scores"][0]["differences"][0]
    assert gap["value"] == 0 and gap["low"] < 0 < gap["high"]
    assert (
        "more items" not in report.format_results(made) and "No verdict is in sight" in ties.progress_text()
    ) or "is shown after every" in ties.progress_text()
    json.dumps(made, allow_nan=False)


def test_a_voter_who_always_takes_the_left_is_told_so_and_finds_no_winner(tmp_path):
    held = session(tmp_path, n=80)
    while held.current_pair():
        cast(held, "left")
    made = held.reveal()
    assert made["sides"]["ann"]["value"] == 1.0 and made["self_agreement"]["ann"]["value"] == 0.0
    assert made["verdict"]["all"]["verdict"] == "cannot tell"


def test_the_longer_answer(tmp_path):
    made = Comparison(ARMS, tuple(Item(str(n), "p", {"base": "x" * (n + 1), "tuned": "y" * 50}) for n in range(40)))
    held = Session(made, tmp_path / "v.jsonl", "ann", 0)
    while now := held.current_pair():
        left, right = (len(now.item.answers[arm]) for arm in now[1:3])
        cast(held, "left" if left > right else "right")
    assert held.reveal()["longer"]["ann"]["value"] == 1.0


def test_three_arms_are_put_on_one_scale(tmp_path):
    held = session(tmp_path, n=30, arms=("bad", "middling", "good"), repeats=0)
    order = ["bad", "middling", "good"]
    luck = random.Random(3)
    while now := held.current_pair():
        better = max(now[1:3], key=order.index)
        wanted = better if luck.random() < 0.8 else next(arm for arm in now[1:3] if arm != better)
        cast(held, "left" if now.left == wanted else "right")
    made = held.reveal()
    found = {one["arm"]: one for one in made["strengths"]}
    assert found["bad"]["value"] < found["middling"]["value"] < found["good"]["value"]
    assert all(one["low"] < one["value"] < one["high"] and not one["separated"] for one in found.values())
    assert sum(one["value"] for one in found.values()) == pytest.approx(0, abs=1e-9)
    assert made["pairs"][0]["threshold"] == 60 and made["verdict"]["all"]["rival"] in ("bad", "middling")
    assert "Bradley-Terry" in report.format_results(made)


def test_strengths_are_what_the_likelihood_says():
    """Against a plain maximisation of the Bradley-Terry likelihood with the same half votes."""
    from scipy.optimize import minimize

    luck = np.random.default_rng(0)
    for _ in range(20):
        wins = luck.integers(0, 30, (4, 4)).astype(float)
        np.fill_diagonal(wins, 0)

        def loss(free, wins=wins):
            s = np.concatenate([[0], free])
            gaps = s[:, None] - s[None, :]
            held = (wins + bradley_terry.PRIOR_VOTES) * (1 - np.eye(4))
            return float((held * np.log1p(np.exp(-gaps))).sum())

        found = np.concatenate([[0], minimize(loss, np.zeros(3), tol=1e-12).x])
        assert bradley_terry._fit(wins) == pytest.approx(found - found.mean(), abs=1e-4)


def test_a_clean_sweep_is_named_separated(tmp_path):
    held = session(tmp_path, n=6, arms=("a", "b", "c"), repeats=0)
    while now := held.current_pair():
        cast(held, "left" if now.left == "a" or (now.left == "b" and now.right != "a") else "right")
    found = {one["arm"]: one for one in held.reveal()["strengths"]}
    assert found["a"]["separated"] and found["c"]["separated"] and found["a"]["high"] is None


def test_several_voters_who_agree_are_not_as_many_coins(tmp_path):
    """Ten people of one mind on eight items: that is eight items' worth of news, not eighty votes'."""
    for name in range(10):
        favour(Session(contest(8), tmp_path / f"{name}.jsonl", f"v{name}", 0), "tuned")
    made = summarise_votes(*votes.pool(sorted(tmp_path.glob("*.jsonl"))))
    assert made["votes"] == 80 and made["pairs"][0]["wins"] == 8
    assert (
        made["pairs"][0]["evidence"] == e_process.evidence(8, 0) and made["verdict"]["all"]["verdict"] == "cannot tell"
    )
    assert len(made["agreement"]) == 45 and all(one["share"]["value"] == 1.0 for one in made["agreement"])
    assert made["agreement"][0]["kappa"] is None, "one answer alone: nothing to tell chance from"
    assert {score["slice"] for score in made["scores"]} == {"all", *(f"by v{n}" for n in range(10))}


def test_coins_on_three_arms_do_not_agree(tmp_path):
    """Which pair was shown is common to both raters whatever they think: it is no agreement."""
    found = []
    for seed in range(8):
        luck = random.Random(seed)
        for name in ("ann", "bob"):
            held = Session(contest(40, ("a", "b", "c")), tmp_path / f"{seed}{name}.jsonl", name, 0)
            while held.current_pair():
                cast(held, luck.choice(["left", "right"]))
        both, _ = votes.pool([tmp_path / f"{seed}ann.jsonl", tmp_path / f"{seed}bob.jsonl"])
        found.append(summarise_votes(both)["agreement"][0]["kappa"])
    assert abs(np.mean(found)) < 0.1


def test_few_pairs_have_no_interval_of_kappa(tmp_path):
    for name in ("ann", "bob"):
        held = Session(contest(2), tmp_path / f"{name}.jsonl", name, 0)
        for arm in ("tuned", "base"):
            favour(held, arm, most=1)
    made = summarise_votes(votes.pool([tmp_path / "ann.jsonl", tmp_path / "bob.jsonl"])[0])["agreement"][0]
    assert (
        made["low"] is None
        and made["high"] is None
        and report.describe_results(summarise_votes(votes.pool([tmp_path / "ann.jsonl"])[0]))
    )


def test_votes_that_were_not_blind_do_not_count(tmp_path):
    held = session(tmp_path, n=40, repeats=0)
    cast(held, "tie")
    held.reveal()
    favour(held, "tuned")
    made = held.reveal()
    assert made["pairs"][0]["wins"] == 0 and made["verdict"]["all"]["verdict"] == "cannot tell"
    assert made["votes"] == 40 and made["scores"][0]["n"] == 1


def test_only_votes_that_were_not_blind(tmp_path):
    held = session(tmp_path, n=4, repeats=0)
    cast(held, "left")
    first = held.file.path.read_bytes()
    held.file.path.write_bytes(first.replace(b'"unblinded": false', b'"unblinded": true'))
    made = summarise_votes(votes.pool([held.file.path])[0])
    assert made["scores"] == [] and report.format_results(made)


def test_an_item_slice_of_any_name(tmp_path):
    for names in (["all"] * 12, ["all", "by ann"] * 6, [""] * 12):
        made = Comparison(
            ARMS, tuple(Item(str(n), "p", {"base": "b", "tuned": "t"}, name) for n, name in enumerate(names))
        )
        path = tmp_path / f"{names[1] or 'none'}.jsonl"
        held = Session(made, path, "ann", 0)
        favour(held, "tuned")
        told = held.reveal()
        assert [score["n"] for score in told["scores"] if score["slice"] == "all"] == [12] and report.format_results(
            told
        )


@pytest.mark.parametrize("n", [1, 5, 8, 20, 60])
def test_as_many_repeats_as_fit(n):
    plan = contest(n).plan("x", 0.3)
    assert sum(one.repeat for one in plan) == min(max(0, n - 6), round(0.3 * n))


def test_a_class_that_shares_a_user_name(tmp_path, monkeypatch):
    monkeypatch.delenv("ETABLI_AUTHOR", raising=False)
    monkeypatch.setattr(journal, "_user", lambda: "jovyan")
    names = set()
    for number in range(3):
        monkeypatch.setenv("ETABLI_CACHE", str(tmp_path / str(number)))
        names |= {votes.voter_name(), votes.voter_name()}
    assert len(names) == 3 and all(name.startswith("jovyan-") for name in names)
    assert votes.voter_name("jovyan") == "jovyan" and votes.voter_name("ann") == "ann"


def test_names_and_reasons_of_others_cannot_steer_a_terminal(tmp_path):
    odd = "\x1b]0;owned\x07"
    held = Session(
        Comparison(("a" + odd, "b"), (Item("1", "p", {"a" + odd: "x", "b": "y"}),)), tmp_path / "v.jsonl", odd
    )
    cast(held, "left")
    code, out, _ = command("votes", "pool", held.file.path)
    assert code == 0 and "\x1b" not in out and "\\u001b" in out
    cast(Session(contest(3), tmp_path / "v.jsonl", odd), "left")
    code, _, err = command("votes", "pool", held.file.path)
    assert code == 2 and "\x1b" not in err and "--comparison HASH" in err


def test_agreement_is_cohens_kappa(tmp_path):
    from sklearn.metrics import cohen_kappa_score

    luck = random.Random(5)
    for name in ("ann", "bob"):
        held = Session(contest(60), tmp_path / f"{name}.jsonl", name, 0)
        while held.current_pair():
            cast(held, luck.choice(CHOICES))
    both, _ = votes.pool([tmp_path / "ann.jsonl", tmp_path / "bob.jsonl"])
    made = summarise_votes(both)["agreement"][0]
    said = {
        name: {v["item"]: votes.winner(v) or v["choice"] for v in both if v["by"] == name} for name in ("ann", "bob")
    }
    pairs = [(said["ann"][item], said["bob"][item]) for item in said["ann"]]
    assert made["n"] == 60 and made["kappa"] == pytest.approx(cohen_kappa_score(*zip(*pairs)))
    assert made["low"] < made["kappa"] < made["high"]


# --- pooling --------------------------------------------------------------------------------------------------------


def test_pooling_counts_every_vote_once(tmp_path):
    favour(session(tmp_path, n=10, repeats=0), "tuned")
    file = tmp_path / "votes.jsonl"
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(file.read_bytes())
    found, said = votes.pool([file, copy, file])
    assert len(found) == 10 and sum("each counts once" in text for text in said) == 2


def test_one_voter_twice_is_not_two(tmp_path):
    favour(session(tmp_path, n=10, repeats=0), "tuned")
    again = Session(contest(10), tmp_path / "elsewhere.jsonl", "ann", 0)
    favour(again, "base")
    found, said = votes.pool([tmp_path / "votes.jsonl", tmp_path / "elsewhere.jsonl"])
    assert len(found) == 10 and all(votes.winner(vote) == "tuned" for vote in found)
    assert (
        "10 votes are by ann on pairs that ann had judged before: the first vote counts. If these are several people"
        in " ".join(said)
    )


def test_half_a_line_and_lines_of_something_else_are_passed_over(tmp_path):
    held = session(tmp_path, n=10, repeats=0)
    favour(held, "tuned", most=4)
    file = tmp_path / "votes.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole.rstrip())  # a last line without an end is whole
    assert len(votes.pool([file])[0]) == 4 and not votes.pool([file])[1]
    file.write_bytes(whole + b'{"id": "x", "choice": "left"}\n[1]\n' + whole.splitlines()[0][:40])
    assert session(tmp_path, n=10, repeats=0).vote_count == 4
    found, said = votes.pool([file])
    assert len(found) == 4 and "3 of 7 lines are no complete votes" in said[0]
    cast(session(tmp_path, n=10, repeats=0), "left")
    assert len(votes.pool([file])[0]) == 5, "the torn line is ended first"


@given(st.binary(max_size=300))
def test_any_bytes_in_a_vote_file_are_told_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("odd") / "v.jsonl"
    path.write_bytes(data)
    with pytest.raises(BadData, match="0 votes"):
        votes.pool([path])


@given(st.dictionaries(st.sampled_from(sorted(Vote.__annotations__)), st.none() | st.integers() | st.text(max_size=3)))
def test_a_vote_with_a_field_of_another_kind_is_no_vote(tmp_path_factory, odd):
    path = tmp_path_factory.mktemp("odd") / "v.jsonl"
    held = Session(contest(3), path, "ann", 0)
    good = cast(held, "left")
    path.write_text(json.dumps({**good, **odd}) + "\n")
    try:
        found, _ = votes.pool([path])
    except BadData:
        return
    assert summarise_votes(found)["votes"] == 1


def test_other_comparisons_are_not_added_up(tmp_path):
    favour(Session(contest(5), tmp_path / "a.jsonl", "ann", 0), "tuned")
    favour(Session(contest(6), tmp_path / "b.jsonl", "bob", 0), "tuned")
    with pytest.raises(BadData, match=r"2 comparisons.*5 votes, by ann.*6 votes, by bob"):
        votes.pool([tmp_path / "a.jsonl", tmp_path / "b.jsonl"])
    (tmp_path / "both.jsonl").write_bytes(b"".join((tmp_path / f"{name}.jsonl").read_bytes() for name in "ab"))
    found, said = votes.pool([tmp_path / "both.jsonl"], contest(5).hash[:6])
    assert len(found) == 5 and "6 votes on other answers left out" in " ".join(said)
    with pytest.raises(BadInput, match="no vote file"):
        votes.pool([tmp_path / "nowhere.jsonl"])


# --- at the terminal ------------------------------------------------------------------------------------------------


def command(*given, stdin=None):
    done = subprocess.run(
        [sys.executable, "-m", "etabli", *map(str, given)], input=stdin or "", capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


def test_voting_and_pooling_at_the_terminal(tmp_path):
    path = tmp_path / "answers.json"
    hostile = "\x1b[2J <b>bold</b>"
    path.write_text(
        json.dumps([{"prompt": f"p{n}", "answers": {"a": f"a{n}{hostile}", "b": f"b{n}"}} for n in range(5)])
    )
    code, out, err = command("arena", path, "--author", "ann", "--json", stdin="1\n2\nt\nx\nq\n")
    made = json.loads(out)
    assert (
        code == 0 and made["done"] == 4 and made["standing"] is None and set(made) == set(ArenaReport.__annotations__)
    )
    assert "\x1b" not in err and "<b>bold</b>" in err and "LEFT" in err
    code, out, _ = command("arena", path, "--author", "bob", stdin="left\nright\n")
    assert code == 0 and "2 of 5 pairs voted on" in out and "whose answers these are: --look" in out, (
        "a break unblinds nobody"
    )
    code, out, _ = command("arena", path, "--author", "bob", "--look")
    assert code == 0 and "can't be told" in out and "Voters: bob (2)." in out
    code, out, err = command("votes", "pool", *(tmp_path / "votes").glob("*.jsonl"), "--json")
    made = json.loads(out)
    assert code == 0 and made["votes"] == 6 and {"scores", "verdict"} <= set(made)
    assert {"name", "slice", "n", "arms", "differences"} <= set(made["scores"][0])
    assert command("votes", "pool", tmp_path / "none.jsonl")[0] == 2
    assert command("arena", tmp_path)[0] == 2

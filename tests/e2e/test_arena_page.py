"""The blind arena in a page: who is who only after the votes, what the booth warns of, and where the result stands."""

from playwright.sync_api import expect

import etabli_widgets
from etabli.review.pairs import Comparison, Item
from etabli.review.session import Session


def arena_of(tmp_path, count, cut=(), repeats=0.0):
    """Return an arena over ``count`` prompts, of which those numbered in ``cut`` have one answer that was cut."""
    items = tuple(
        Item(f"i{n}", f"What is {n}?", {"prompted": f"one {n}", "tuned": f"two {n}"}, cut=("tuned",) * (n in cut))
        for n in range(count)
    )
    return etabli_widgets.BlindArena(
        Session(Comparison(("prompted", "tuned"), items), tmp_path / "v.jsonl", "ann", repeats)
    )


def test_the_arena_names_the_systems_after_the_votes_and_not_before(bench, tmp_path):
    answers = ({"prompted": f"one {at}", "tuned": f"two {at} " * 9} for at in range(6))
    items = tuple(Item(f"i{at}", f"p{at}", answer) for at, answer in enumerate(answers))
    arena = etabli_widgets.BlindArena(Session(Comparison(("prompted", "tuned"), items), tmp_path / "v.jsonl", "ann", 0))
    page = bench.page.locator(f"#{bench.mount(arena, 'BlindArena')}")
    booth = page.get_by_role("application")
    booth.focus()
    for number in range(1, 7):
        expect(page.get_by_text(f"Pair {number} of 6")).to_be_visible()
        html = page.evaluate("el => el.outerHTML")
        assert "prompted" not in html and "tuned" not in html
        bench.page.keyboard.press("ArrowLeft")
    expect(page.get_by_text("You compared prompted with tuned.")).to_be_visible()
    expect(page.get_by_text("tuned's answer is at least 3 times as long in 6 of 6 pairs")).to_be_visible()
    expect(page.locator(".etabli-told-who")).to_be_focused()


def test_one_cut_answer_is_pointed_out_before_the_vote(bench, tmp_path):
    arena = arena_of(tmp_path, 6, cut=(0, 2, 4))
    page = bench.page.locator(f"#{bench.mount(arena, 'BlindArena')}")
    warned = []
    page.get_by_role("application").focus()
    for number in range(1, 7):
        expect(page.get_by_text(f"Pair {number} of 6")).to_be_visible()
        expected = any(arena.pair.get("cut", ()))
        expect(page.get_by_text("Only one of the two was cut")).to_be_visible(visible=expected)
        warned.append(expected)
        bench.page.keyboard.press("ArrowDown")
    assert sum(warned) == 3


def test_after_a_look_the_result_stands_first_and_further_voting_is_folded(bench, tmp_path):
    other = arena_of(tmp_path, 3)
    other.vote("left")
    arena = arena_of(tmp_path, 4)
    note = f"On other answers, so not counted here: 1 vote in {tmp_path / 'v.jsonl'}."
    page = bench.page.locator(f"#{bench.mount(arena, 'BlindArena')}")
    booth, result = page.get_by_role("application"), page.locator(".etabli-told-who")
    expect(page.get_by_text(note)).to_have_count(1)
    expect(page.get_by_text("This session is too short to show your progress")).to_be_visible()
    booth.press("ArrowLeft")
    expect(page.get_by_text("Pair 2 of 4")).to_be_visible()
    page.get_by_role("button", name="Who is who?").click()
    expect(result).to_be_focused()
    expect(page.get_by_text("1 of 4 pairs voted on")).to_be_visible()
    expect(booth).to_be_hidden()
    expect(page.get_by_text(note)).to_have_count(1)
    assert arena.html().count(note) == 1
    page.get_by_text("Go on voting").click()
    assert result.bounding_box()["y"] < booth.bounding_box()["y"]
    expect(page.get_by_text("do not count")).to_be_visible()
    booth.press("ArrowLeft")
    expect(page.get_by_text("2 of 4 pairs voted on")).to_be_visible()
    expect(booth).to_be_visible(), "who votes on is not folded away"

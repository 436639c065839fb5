"""The chat in a page: no question is lost, votes by keys; and what was cut is marked in every widget."""

import itertools
import threading

import pytest
from bridged import Bench
from playwright.sync_api import expect
from widget_samples import SAMPLES

import etabli_widgets
from etabli.evaluation import card

GONE = "This kernel is gone: run the cell again."


class Talk:
    """A chat of three sides whose answers wait until a test lets them come."""

    def __init__(self, bench, tmp_path):
        self.go, self.votes, self.bench = threading.Event(), [], bench
        self.failure = None
        self.slow, self.resume = "", threading.Event()  # the side that waits until it may go on
        sides = {name: self.side(name) for name in ("base", "prompted", "tuned")}
        numbers = itertools.count()
        self.widget = etabli_widgets.ChatCompare(
            sides,
            keep=lambda entry: {"id": str(next(numbers)), **entry},
            keep_vote=lambda vote: self.votes.append(vote) or f"{len(self.votes)} votes",
            go_on=lambda name: None,
        )
        self.at = bench.mount(self.widget, "ChatCompare")
        self.page = bench.page.locator(f"#{self.at}")
        self.box = self.page.get_by_label("Prompt", exact=True)

    def side(self, name):
        def answer(prompt):
            if self.failure:
                raise self.failure
            self.go.wait(20)
            if name == self.slow:
                self.resume.wait(20)
            yield f"{name} says {prompt}"
            return name == "base"

        return answer

    def until(self, is_reached, polls=100):
        """Bring what the kernel does into the page until it is as it should be."""
        for _ in range(polls):
            reached = is_reached()
            self.bench.sync(self.at)
            if reached:
                return
            self.bench.page.wait_for_timeout(50)  # answers are given by another thread
        pytest.fail("it did not come to that")

    def ask(self, text):
        self.go.set()
        count = len(self.widget.history)
        self.box.fill(text)
        self.box.press("Enter")
        self.until(lambda: len(self.widget.history) > count and not self.widget.doing)


@pytest.fixture
def talk(bench, tmp_path):
    talk = Talk(bench, tmp_path)
    yield talk
    talk.go.set()


def test_enter_sends_and_clears_the_box_and_shift_enter_does_not(talk):
    talk.box.fill("first")
    talk.box.press("Shift+Enter")
    talk.box.press_sequentially("second")
    assert talk.box.input_value() == "first\nsecond" and talk.bench.heard == 0
    talk.box.press("Enter")
    talk.until(lambda: talk.widget.writing == "base")
    expect(talk.box).to_have_value("")
    expect(talk.page.get_by_role("status")).to_have_text("base is reading the prompt")
    talk.box.fill("typed meanwhile")
    talk.box.press("Enter")
    assert talk.bench.heard == 1
    talk.go.set()
    talk.until(lambda: not talk.widget.doing)
    expect(talk.box).to_have_value("typed meanwhile"), "what was typed while it answered is still there"
    expect(talk.page.get_by_role("status")).to_have_text("")
    assert talk.widget.history[0]["prompt"] == "first\nsecond"
    talk.box.fill("")
    talk.box.press("ArrowUp")
    expect(talk.box).to_have_value("first\nsecond")


def test_what_nobody_heard_stays_in_the_box(talk):
    talk.bench.answering = False
    talk.box.fill("Are you there?")
    talk.box.press("Enter")
    expect(talk.page.locator(".etabli-connection")).to_contain_text(GONE, timeout=4_000)
    expect(talk.page.locator(".etabli-connection pre")).to_have_text("Are you there?")  # to be copied from there
    expect(talk.box).to_have_value("Are you there?")


def test_what_could_not_be_answered_comes_back_each_time(talk):
    talk.failure = MemoryError("no room")
    for number in range(2):  # the same error twice
        talk.box.press("Enter") if number else talk.box.fill("a long question")
        if not number:
            talk.box.press("Enter")
        talk.until(lambda: talk.widget.error and not talk.widget.doing)
        expect(talk.page.get_by_role("alert").filter(has_text="no room")).to_be_visible()
        expect(talk.box).to_have_value("a long question")
    talk.failure = None
    talk.go.set()
    talk.box.press("Enter")
    talk.until(lambda: talk.widget.history)
    expect(talk.box).to_have_value("")


def test_a_long_answer_shows_its_seconds_and_can_be_stopped(browser, tmp_path):
    bench = Bench(browser)
    bench.page.clock.install()
    widget = etabli_widgets.ChatCompare({"base": iter, "tuned": iter})
    page = bench.page.locator(f"#{bench.mount(widget, 'ChatCompare')}")
    widget.doing = "Loading a model"
    bench.sync("ChatCompare-0")
    for seconds in (0, 1, 30):
        bench.page.clock.run_for(1000 * seconds)
        expect(page.locator(".etabli-seconds")).to_have_text(f"{seconds and seconds + (seconds > 1)} s")
    assert page.get_by_role("status").inner_text() == "Loading a model", "a screen reader hears it once"
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("status")).to_have_text("Stopping: Loading a model")

    bench.answering = False  # the kernel dies
    page.get_by_role("button", name="Stop").click()
    for _ in range(6):
        bench.page.clock.run_for(1000)
        bench.page.evaluate("Promise.resolve()")
    expect(page.locator(".etabli-connection")).to_contain_text(GONE)
    last = page.locator(".etabli-seconds").inner_text()
    bench.page.clock.run_for(10_000)
    expect(page.locator(".etabli-seconds")).to_have_text(last)
    bench.close()


def test_votes_by_keys_in_the_chat(talk):
    talk.ask("Where is the harbour?")
    against_base = talk.page.get_by_role("group", name="Which answer is better, that of base or of tuned?")
    against_prompted = talk.page.get_by_role("group", name="Which answer is better, that of prompted or of tuned?")
    against_base.get_by_role("button", name="Tie").focus()
    talk.bench.page.keyboard.press("b")
    assert not talk.votes
    talk.bench.page.keyboard.press("ArrowRight")
    expect(against_base.get_by_role("button", name="tuned is better")).to_have_attribute("aria-pressed", "true")
    expect(against_prompted.get_by_role("button").first).to_be_focused()
    talk.bench.page.keyboard.press("x")
    expect(talk.box).to_be_focused()
    assert [(vote["left"], vote["choice"]) for vote in talk.votes] == [("base", "right"), ("prompted", "both bad")]
    assert all(button.is_disabled() for button in against_base.get_by_role("button").all())
    expect(talk.page.locator(".etabli-ballot")).to_contain_text("not blind")
    expect(talk.page.locator(".etabli-ballot")).to_contain_text("So far: 2 votes")

    talk.ask("And the station?")
    talk.page.get_by_text("Asked before: 1").click()
    old = talk.page.locator(".etabli-earlier").get_by_role("button", name="tuned is better")
    expect(old.first).to_have_attribute("aria-pressed", "true"), "an earlier question keeps its votes"
    talk.page.locator(".etabli-ballot").get_by_role("button", name="prompted is better").click()
    assert talk.votes[-1]["item"] == "1" and talk.votes[-1]["choice"] == "left"


@pytest.mark.parametrize("name", ["prompted", "tuned"])
def test_an_answer_that_was_stopped_is_not_voted_on(talk, name):
    """Tuned is judged: either it was stopped itself, or it was never asked."""
    vote = talk.page.get_by_role("group", name="Which answer is better")
    talk.ask("whole")
    expect(vote).to_have_count(2)
    talk.slow = name
    talk.box.fill("stopped")
    talk.box.press("Enter")
    talk.until(lambda: talk.widget.writing == name)
    talk.page.get_by_role("button", name="Stop").click()
    talk.resume.set()
    talk.until(lambda: len(talk.widget.history) == 2 and not talk.widget.doing)
    assert talk.widget.history[1]["stopped"] == [name] and "stopped" in talk.widget.html()
    expect(vote).to_have_count(0)
    with pytest.raises(ValueError, match="stopped"):
        talk.widget.vote("tie", against="base")
    talk.page.get_by_text("Asked before: 1").click()
    expect(vote).to_have_count(2), "the question before is whole"
    assert not talk.votes


def test_a_question_that_fails_is_not_the_same_question_before_it(talk):
    vote = talk.page.get_by_role("group", name="Which answer is better")
    talk.ask("hi")
    talk.failure = MemoryError("no room")
    talk.box.fill("hi")
    talk.box.press("Enter")
    talk.until(lambda: talk.widget.error and not talk.widget.doing)
    expect(vote).to_have_count(0), "nobody votes on answers that are not there"
    expect(talk.page.locator(".etabli-sides pre:visible")).to_have_text(["(no answer)"] * 3)
    expect(talk.box).to_have_value("hi")
    talk.page.get_by_text("Asked before: 1").click()
    expect(talk.page.locator(".etabli-earlier pre").last).to_have_text("tuned says hi")
    expect(vote).to_have_count(2)
    talk.failure = None
    talk.ask("hi")
    expect(talk.page.get_by_text("Asked before: 1")).to_be_visible()
    talk.page.locator(".etabli-ballot").get_by_role("button", name="tuned is better").first.click()
    assert [vote["item"] for vote in talk.votes] == ["1"]


def test_all_earlier_questions_can_be_listed_and_a_cleared_setting_stays_what_it_was(bench):
    past = [{"prompt": f"question {number}", "answers": {"tuned": {"text": ""}}} for number in range(119)]
    widget = etabli_widgets.ChatCompare({"tuned": iter}, past=past, settings={"temperature": 0.7})
    page = bench.page.locator(f"#{bench.mount(widget, 'ChatCompare')}")
    page.get_by_text("Asked before: 119").click()
    questions = page.locator(".etabli-earlier .etabli-asked")
    expect(questions).to_have_count(50)
    page.get_by_role("button", name="69 more questions").click()
    page.get_by_role("button", name="19 more questions").click()
    expect(questions).to_have_count(119)
    expect(questions.last).to_have_text("question 0")
    expect(page.locator(".etabli-earlier pre").last).to_have_text("(an empty answer)")
    page.get_by_label("Temperature").fill("")
    page.get_by_label("Prompt", exact=True).focus()
    expect(page.get_by_label("Temperature")).to_have_value("0.7")


def test_a_question_goes_on_only_if_it_is_said(talk):
    expect(talk.page.get_by_text("Go on from the last question")).to_be_hidden()
    talk.ask("one")
    talk.page.get_by_label("Go on from the last question").check()
    talk.ask("two")
    assert "after" not in talk.widget.history[0] and talk.widget.history[1]["after"] == "0"
    expect(talk.page.locator("p.etabli-asked").first).to_contain_text("goes on from the question before")


def test_what_was_cut_is_marked_wherever_it_is_read(bench, tmp_path):
    import hostile_markup

    results = hostile_markup.evaluation()
    results["rows"][0]["cut"] = ["tuned"]
    verdict = card.verdict(results)
    verdict.look(score="exact", slice="all", arm="tuned")
    marked = [SAMPLES[name](tmp_path) for name in ("ChatCompare", "BlindArena", "TokenDiff")]
    for widget in [*marked, verdict]:
        name = type(widget).__name__
        page = bench.page.locator(f"#{bench.mount(widget, name)}")
        if name == "VerdictCard":  # of its rows only this one has an answer that was cut
            page.locator(".etabli-row > summary", has_text=results["rows"][0]["prompt"]).first.click()
        if name == "BlindArena":
            page.get_by_text("Go on voting").click()
        expect(page.locator(".etabli-cut:visible").first).to_be_visible()
        assert "greatest number of tokens" in page.locator(".etabli-cut abbr").first.get_attribute("title")
        if name != "BlindArena":  # its twin has no answers
            assert 'class="etabli-cut"' in widget.html(), name
    arena = bench.page.locator("#BlindArena-1")
    assert arena.get_by_label("Right answer").locator(".etabli-cut").is_hidden(), "this answer is whole"

"""Widgets from Python alone: what they show, their twins, their errors; and that no answer becomes markup."""

import ast
import itertools
import random
import re
import sys
import time
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace

import pytest

import etabli_widgets
import seal_sample
from etabli_widgets import (
    BlindArena,
    ChatCompare,
    CheckReport,
    DatasetTable,
    MaskLens,
    MemoryLedger,
    RoundTrip,
    RunMonitor,
    SealCard,
    ThresholdPairs,
    TokenDiff,
    TrainingFilm,
    VerdictCard,
    _base,
    markup,
)
from etabli_widgets.run_monitor import MOST_POINTS, group_size, thin

HOSTILE = "<img src=x onerror=alert(1)><script>alert(1)</script>&\"'\u202e"
EVENTS = [
    {"kind": "start", "t": 0.0, "steps": 10, "probes": ["probe " + HOSTILE]},
    {"kind": "eval", "t": 1.0, "step": 0, "loss": 4.0},
    *(
        {"kind": "step", "t": 2.0 + s, "step": s, "loss": 4 / s, "tokens_per_s": 100.0, "memory_bytes": 1e9}
        for s in range(1, 6)
    ),
    {"kind": "sample", "t": 8.0, "step": 5, "probe": 0, "text": HOSTILE},
]


def test_the_monitor_shows_events_with_no_process_behind_it():
    monitor = RunMonitor(events=EVENTS, name="x")
    assert (monitor.state, monitor.step, monitor.total) == ("running", 5, 10)
    assert monitor.seconds_left == pytest.approx(5.0)
    assert monitor.samples[0]["text"] == HOSTILE and not monitor.stoppable
    monitor.feed([*EVENTS, {"kind": "end", "t": 9.0, "state": "stopped", "why": "asked"}])
    assert (monitor.state, monitor.why) == ("stopped", "asked")


def test_the_twin_of_a_run_of_one_step_shows_a_dot():
    twin = RunMonitor(events=EVENTS[:3]).html()
    assert 'class="etabli-loss" cx=' in twin and 'class="etabli-held-out" cx=' in twin
    assert 'class="etabli-loss" cx=' not in RunMonitor(events=EVENTS).html(), "a line needs no dot"


def test_a_missing_loss_is_shown_as_missing():
    missing = [{"kind": "step", "t": 9.0, "step": 6, "loss": None}, {"kind": "eval", "step": 6, "loss": None}]
    odd = [
        {"kind": "sample", "step": HOSTILE, "probe": -5, "text": "x"},
        {"kind": "eval", "step": 7, "loss": float("nan")},
    ]
    monitor = RunMonitor(events=[*EVENTS, *missing, *odd])
    assert monitor.losses[-1] == [6, None] and monitor.held_out[-2:] == [[6, None], [7, None]]
    assert "step 6" in monitor.html() and "held-out loss 4.000" in monitor.html()
    assert "<img" not in monitor.html() and "nan" not in monitor.html()


def test_stop_from_the_page_and_from_code():
    asked = []
    monitor = RunMonitor(events=EVENTS, stop=lambda: asked.append(1))
    monitor.received({"type": "stop"})
    monitor.on_stop()
    assert asked == [1, 1] and monitor.state == "stopping"


def test_a_callback_that_raises_is_shown():
    def broken():
        raise OSError("no such process")

    monitor = RunMonitor(events=EVENTS, stop=broken)
    monitor.received({"type": "stop"})
    assert monitor.error == "OSError: no such process"
    monitor.received({"type": "nonsense"})


def test_long_runs_are_thinned_and_keep_their_end():
    points = thin([[step, 1.0] for step in range(1, 10_001)])
    assert len(points) <= MOST_POINTS and points[-1][0] == 10_000


@pytest.mark.parametrize("count", [400, 401, 402, 1_000, 12_345])
def test_a_thinned_run_keeps_the_lowest_and_highest_of_each_group(count):
    generator = random.Random(count)
    points = [[step, generator.lognormvariate(0, 2)] for step in range(1, count + 1)]
    kept, size = thin(points), group_size(count)
    assert len(kept) <= MOST_POINTS and kept[0] == points[0] and kept[-1] == points[-1]
    assert kept == sorted(kept) and all(point in points for point in kept)
    for start in range(1, count - 1, size):
        group = points[start : min(start + size, count - 1)]
        lowest, highest = (choose(group, key=lambda point: point[1]) for choose in (min, max))
        assert lowest in kept and highest in kept
    for spike in (2, count // 2, count - 1):
        assert [spike, 1e9] in thin([[step, 1e9 if step == spike else value] for step, value in points])
        gap = [[step, None if step == spike else value] for step, value in points]
        assert [spike, None] in thin(gap), "a missing loss is no less news than a high one"


def test_the_running_mean_of_a_long_run_is_that_of_all_its_losses():
    losses = [random.Random(step).random() for step in range(1_000)]
    monitor = RunMonitor(events=[{"kind": "step", "t": n, "step": n + 1, "loss": v} for n, v in enumerate(losses)])
    size = group_size(1_000)
    for step, mean in monitor.means:
        assert mean == pytest.approx(fmean(losses[max(0, step - 8 * size) : step]))
    assert size > 1 and monitor.means[-1][0] == 1_000 and monitor.means[8][0] > 8 * size
    few = RunMonitor(
        events=[{"kind": "step", "t": n, "step": n + 1, "loss": v} for n, v in enumerate([2, None, 4] * 3)]
    )
    assert few.means == [], "six known losses"


@pytest.fixture
def chat():
    def side(word):
        return lambda prompt: iter([word, f"{word} {prompt}"])

    return ChatCompare({"base": side("b"), "tuned": side("t")})


def test_asking_from_code(chat):
    assert chat.ask("x") == {"base": "b x", "tuned": "t x"}
    assert chat.history == [{"prompt": "x", "answers": {"base": "b x", "tuned": "t x"}, "settings": {}}]
    assert chat.figures["base"]["tokens"] == 2 and chat.figures["base"]["first_s"] >= 0
    with pytest.raises(ValueError, match="empty"):
        chat.ask("  ")


def test_asking_from_the_page_and_stopping(chat):
    def endless(prompt):
        yield from (str(n) for n in range(10**9) if not time.sleep(0.001))

    slow = ChatCompare({"base": endless, "tuned": endless})
    slow.received({"type": "ask", "prompt": "x"})
    wait(lambda: slow.writing)
    with pytest.raises(RuntimeError, match="Still answering"):
        slow.ask("y")
    slow.received({"type": "stop"})
    wait(lambda: not slow.writing)
    assert slow.history[0]["prompt"] == "x"


def test_a_side_that_fails_or_is_stopped_keeps_what_was_answered():
    closed = []

    def fine(prompt):
        try:
            yield "whole"
        finally:
            closed.append("fine")

    def broken(prompt):
        try:
            yield "half"
            raise MemoryError("no room")
        finally:
            closed.append("broken")

    kept = []
    chat = ChatCompare({"base": fine, "tuned": broken}, keep=lambda asked: kept.append(asked) or asked)
    with pytest.raises(MemoryError):
        chat.ask("x")
    assert closed == ["fine", "broken"] and list(kept[0]["answers"]) == ["base"] and not chat.writing

    def stopping(prompt):
        chat.on_stop()
        yield "one"

    chat = ChatCompare({"base": stopping, "tuned": fine})
    assert chat.ask("x") == {"base": "one"}, "Stop ends all: the others are not asked"


def test_an_interrupt_lets_go_of_the_answer():
    """A traceback that somebody keeps must not keep the adapter as it was."""
    closed = []

    def side(prompt):
        try:
            for n in range(100):
                yield str(n)
        finally:
            closed.append(prompt)

    chat = ChatCompare({"base": side})

    def interrupt(change):
        raise KeyboardInterrupt

    chat.observe(interrupt, "texts")
    with pytest.raises(KeyboardInterrupt):
        chat._answer("base", "x")
    chat.unobserve(interrupt, "texts")
    chat.observe(lambda change: (_ for _ in ()).throw(KeyboardInterrupt), "figures")
    with pytest.raises(KeyboardInterrupt):
        chat.ask("y")
    assert closed == ["y"] or closed == ["x", "y"]


def test_settings_reach_every_side_and_what_was_asked_is_kept():
    given, kept = [], []

    def side(prompt, **settings):
        given.append(settings)
        return iter([prompt])

    past = [{"prompt": HOSTILE, "answers": {"base": {"text": "earlier"}}, "strength": 0.5}]
    settings = {"temperature": 0.0, "seed": 0, "strength": 1.0}
    chat = ChatCompare(
        {"base": side, "tuned": side}, ["try"], settings, past, lambda asked: kept.append(asked) or asked
    )
    assert "earlier" in chat.html() and "strength 0.5" in chat.html() and "<img" not in chat.html()
    chat.ask("x", strength=0.25)
    chat.received({"type": "ask", "prompt": "y", "settings": {"seed": 7, "nonsense": 1}})
    wait(lambda: len(chat.history) == 3)
    assert given[:2] == [{**settings, "strength": 0.25}] * 2 and given[2] == {**settings, "strength": 0.25, "seed": 7}
    assert [one["prompt"] for one in kept] == ["x", "y"] and kept[0]["answers"]["base"]["text"] == "x"
    with pytest.raises(ZeroDivisionError):
        ChatCompare({"base": lambda prompt, **settings: 1 / 0}, (), dict(settings)).ask("x", seed=9)
    refusing = ChatCompare({"base": lambda prompt, seed: iter([prompt]) if seed < 5 else 1 / 0}, (), {"seed": 1})
    with pytest.raises(ZeroDivisionError):
        refusing.ask("x", seed=9)
    assert refusing.settings == {"seed": 1} and refusing.ask("x") == {"base": "x"}, "what was refused is not kept"
    with pytest.raises(ValueError, match="no setting loud; there are temperature, seed, strength"):
        chat.ask("x", loud=1)


class Session:
    """Stands for etabli.review.session.Session; test_arena.py tests the real one."""

    def __init__(self, left=2):
        self.total, self.notes, self.cast, self.is_revealed = left, ["a note " + HOSTILE], [], False

    @property
    def vote_count(self):
        return len(self.cast)

    def current_pair(self):
        from types import SimpleNamespace as Plain

        answers = {"SECRET-BASE": "one", "SECRET-TUNED": HOSTILE}
        item = Plain(prompt="asked " + HOSTILE, answers=answers)
        return Plain(item=item, left="SECRET-BASE", right="SECRET-TUNED") if self.vote_count < self.total else None

    def vote(self, choice):
        if choice == "full":
            raise OSError("The disk is full")
        self.cast.append(choice)
        return {"choice": choice, "lengths": [3, 50], "seconds": 1.0}

    def progress_text(self):
        return "Evidence 1.0"

    def reveal_as_text(self):
        row = ["SECRET-TUNED against SECRET-BASE", "1"]
        return {"verdict": HOSTILE, "kind": "better", "heads": ["", "won"], "rows": [row], "notes": ["n " + HOSTILE]}


def test_the_arena_hides_who_is_who_until_it_is_asked():
    arena = BlindArena(Session())
    assert "SECRET" not in str(arena.get_state()) and "SECRET" not in arena.html() and not arena.last
    arena.received({"type": "vote", "choice": "left", "number": 1})
    assert arena.done == 1 and arena.last["lengths"] == [3, 50], "lengths after the vote"
    arena.received({"type": "vote", "choice": "left", "number": 1})
    assert arena.done == 1, "pressed twice: meant for the pair before"
    assert "SECRET" not in str(arena.get_state())
    arena.received({"type": "look"})
    assert "SECRET" in str(arena.get_state()) and "SECRET-TUNED against" in arena.html()
    assert arena.vote("tie")["choice"] == "tie" and arena.pair == {}


def test_a_vote_that_could_not_be_kept_is_shown_and_may_be_given_again():
    arena = BlindArena(Session())
    arena.received({"type": "vote", "choice": "full", "number": 1})
    assert arena.error == "OSError: The disk is full" and arena.pair["number"] == 1
    arena.received({"type": "vote", "choice": "right", "number": 1})
    assert arena.done == 1 and not arena.error


def moves(*tokens):
    size = len(tokens)
    return {
        "tokens": list(tokens),
        "ids": list(range(size)),
        "logp": [-0.5] * size,
        "base_logp": [-3.0] * size,
        "rank": [1] * size,
        "base_rank": [9] * size,
        "kl": [0.5] * size,
        "top": [[["a", -0.1]]] * size,
        "base_top": [[["b", -0.1]]] * size,
    }


def row_of(name, *tokens):
    return {
        "id": name,
        "prompt": "asked " + HOSTILE,
        "answer": "".join(tokens),
        "move": 2.5,
        "at": 0,
        "total": 2.5 * len(tokens),
        "kl": 0.5,
        "moves": moves(*tokens),
    }


DIFFS = {
    "version": 1,
    "model": "m",
    "adapter": "x",
    "of": "tuned",
    "said": ["said " + HOSTILE],
    "rows": [row_of("a", "", "😀", HOSTILE, "‮"), row_of("b", *["word "] * 10_000)],
}
TRUTH = {"text": "t", "total": -2.5, "tokens": 2, "first": 1, "base_first": 0, "moves": moves("x", HOSTILE)}
DIFFS["rows"][0] |= {"truth": TRUTH, "cut": True}


def test_token_differences_send_the_tokens_of_one_row():
    diff = TokenDiff(DIFFS)
    assert [line["tokens"] for line in diff.lines] == [4, 10_000] and diff.row["number"] == 0
    assert len(str(diff.get_state())) < 60_000 and "9600 more tokens" in diff.html()
    diff.received({"type": "open", "number": 1})
    assert diff.row["number"] == 1 and len(diff.row["moves"]["kl"]) == 10_000
    diff.received({"type": "open", "number": 2})
    assert "There is no row 2; there are 2" in diff.error
    diff.pick("KL")
    assert diff.measure == "KL" and "2.50 nats" in repr(diff)
    assert TokenDiff({**DIFFS, "rows": []}).row == {}


def frame(step, text, kl=0.5):
    told = {"tokens": [text], "logp": [-1.0], "base_logp": [-2.0], "kl": [kl]}
    return {"step": step, "text": text, "mean_kl": kl, **told}


BARE = {"step": 10, "text": HOSTILE, "tokens": None, "logp": None, "base_logp": None, "kl": None, "mean_kl": None}
FILM = {
    "version": 1,
    "run": "r" + HOSTILE,
    "state": "completed",
    "steps": 20,
    "said": ["said " + HOSTILE],
    "strips": [
        {"probe": "asked " + HOSTILE, "frames": [frame(0, "x"), BARE, frame(20, HOSTILE)], "changed": 10, "jump": 20},
        {"probe": "one", "frames": [frame(0, "")], "changed": None, "jump": None},
    ],
    "pins": [{"probe": "one", "step": 0, "why": HOSTILE, "by": "ann", "id": "1"}],
}


def test_the_film_is_scrubbed_and_pinned():
    asked = []
    film = TrainingFilm(FILM, lambda *given: asked.append(given) or [])
    assert film.show(20)["text"] == HOSTILE and film.at == 2
    film.received({"type": "pin", "probe": 1, "step": 0})
    assert asked == [("one", 0, "", True)] and film.film["pins"] == [] and film.probe == 0, "who looks on stays"
    for given in ((7,), (0, 5)):
        with pytest.raises(ValueError, match="There is no"):
            film.show(*given)
    film.received({"type": "pin", "probe": 7, "step": 3})
    assert "IndexError" in film.error
    with pytest.raises(ValueError, match="no run folder to save pins"):
        TrainingFilm(FILM).pin_here()


def test_a_film_that_grows_keeps_who_looks_at_the_end_at_the_end():
    film = TrainingFilm(FILM)
    longer = {
        **FILM,
        "strips": [{**FILM["strips"][0], "frames": [*FILM["strips"][0]["frames"], frame(30, "z")]}, FILM["strips"][1]],
    }
    film.feed(longer)
    assert film.at == 0, "who looks at another frame stays there"
    film = TrainingFilm(FILM)
    film.show(20)
    film.feed(longer)
    assert film.at == 3
    film.feed({**FILM, "strips": [{**FILM["strips"][1]}]})
    assert (film.probe, film.at) == (0, 0), "a shorter one"
    film.show(0)
    film.feed({**FILM, "strips": [{**FILM["strips"][1], "frames": [frame(0, "a"), frame(5, "b")]}]})
    assert film.at == 1, "who looks at the only frame looks at the last"


def wait(true, seconds=10):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_error_while_answering_is_shown():
    def broken(prompt):
        raise MemoryError("no room")
        yield

    chat = ChatCompare({"base": broken})
    chat.received({"type": "ask", "prompt": "x"})
    wait(lambda: chat.error)
    assert chat.error == "MemoryError: no room" and not chat.writing


GAP = {
    "score": "exact",
    "slice": "all",
    "n": 4,
    "against": "base",
    "main": True,
    "text": "+5 points [−1, +11]",
    "flips": {"fixed": 2, "broken": 1, "both": 0, "neither": 1},
    "chance": "p = 1",
    "verdict": "cannot tell",
    "zero": 50.0,
    "left": 45.0,
    "width": 10.0,
    "dot": 51.0,
}
VIEW = {
    "subject": "tuned",
    "lines": [{"verdict": "better", "text": "all: " + HOSTILE}],
    "warnings": ["OVERLAP " + HOSTILE],
    "heads": ["score", "slice", "n", "base", "tuned"],
    "first": 3,
    "gaps": [GAP],
    "scores": [["exact", "all", 4, "25 % [5, 60]", "50 % [15, 85]"], ["loss", "all", 4, "—", "1.2 [1.1, 1.3]"]],
    "facts": [["data_hash", "abc" + HOSTILE]],
}


def picked(asked):
    answer = {"arm": "tuned", "mark": "✓", "answer": HOSTILE, "rendered": "prompt " + HOSTILE, "raw": HOSTILE}
    return [{"prompt": f"{at} {HOSTILE}", "truth": HOSTILE, "answers": [answer]} for at in range(60)]


@pytest.fixture
def card():
    return VerdictCard(VIEW, picked)


def test_a_number_opens_its_rows(card):
    rows = card.look(score="exact", slice="all", arm="tuned")
    assert len(rows) == card.opened["found"] == 60 and len(card.opened["rows"]) == 50
    card.received({"type": "open", "score": "exact", "slice": "all", "against": "base", "which": "fixed"})
    assert card.opened["asked"] == {"score": "exact", "slice": "all", "against": "base", "which": "fixed"}
    card.received({"type": "close"})
    assert card.opened == {}


def test_a_number_that_opens_nothing_is_shown():
    def broken(asked):
        raise KeyError("no such score")

    card = VerdictCard(VIEW, broken)
    card.received({"type": "open", "score": "x", "slice": "y"})
    assert card.error == "KeyError: 'no such score'"


def test_the_card_with_no_differences():
    card = VerdictCard({**VIEW, "gaps": []}, picked)
    assert "Row by row" not in card.html() and "exact, all: tuned: 60 rows" in card.html()


class Marks(set):
    def packed(self):
        return ",".join(map(str, sorted(self)))


class Rows:
    """What a table is fed from."""

    total, source_count, changed_count = 70, 1, 0

    def __init__(self):
        self.done = []
        self.marked = set()

    def select(self, **asked):
        if asked.get("sort") == "colour":
            raise ValueError("no such order")
        return 70

    def lines(self, start, stop):
        return [self.line(at) for at in range(start, min(stop, 70))]

    def line(self, at):
        return {
            "at": at,
            "id": f"r{at}",
            "asked": HOSTILE,
            "answer": HOSTILE,
            "status": "stays",
            "found": [HOSTILE],
            "length": 3,
            "source": HOSTILE,
        }

    def facets(self):
        return {"finding": {HOSTILE: 1}, "status": {"stays": 70}, "source": {HOSTILE: 70}}

    def statuses(self):
        return {"stays": 70 - len(self.done), "dropped": len(self.done)}

    def detail(self, name):
        return {"id": name, "status": "stays", "decided": len(self.done)}

    def decide(self, do, name, why="", text=None):
        if name == "r9":
            raise OSError("the disk is full")
        self.done.append((do, name, why, text))
        return self.line(int(name[1:]))

    def undo_batch(self):
        return [self.done.pop()[1]] if self.done else []

    def histograms(self):
        chart = {"kind": "categories", "labels": [HOSTILE], "edges": [], "counts": [70], "shown": [70]}
        return {"status": chart, "finding": chart}

    @property
    def marks(self):
        return Marks(self.marked)

    def mark(self, do, start=0, stop=0, rows=()):
        chosen = {*range(start, min(stop, 70)), *rows}
        if max(chosen, default=0) >= 70:
            raise ValueError("no such row")
        self.marked = self.marked - chosen if do == "remove" else chosen | (self.marked if do == "add" else set())
        return len(self.marked)

    def decide_marked(self, do, why=""):
        self.done += [(do, f"r{at}", why, None) for at in sorted(self.marked)]
        count, self.marked = len(self.marked), set()
        return count

    def count_marked(self):
        return len(self.marked)

    def place_of(self, row):
        return int(str(row).lstrip("r"))

    def shown_flags(self, rows):
        return ""

    def refresh(self):
        return 69


def table():
    made = DatasetTable(Rows(), "ann")
    made.sent = []
    made.send = lambda content, buffers=None: made.sent.append(content)
    return made


def test_a_decision_is_confirmed_when_it_is_written_and_not_before():
    shown = table()
    shown.open_row("r3")
    shown.received({"type": "decide", "do": "drop", "id": "r3", "why": "dull"})
    assert shown._source.done == [("drop", "r3", "dull", None)] and shown.decided == 1
    assert shown.sent[-1] == {"type": "line", "line": shown._source.line(3)} and shown.detail["decided"] == 1
    assert "dropped 1" in repr(shown) and "dropped 1" in shown.html()
    shown.received({"type": "decide", "do": "drop", "id": "r9"})
    assert shown.sent[-1] == {"type": "refused", "id": "r9"} and "disk is full" in shown.error and shown.decided == 1
    shown.received({"type": "undo"})
    shown.received({"type": "undo"})
    assert shown._source.done == [] and shown.sent[-1] == {"type": "nothing"}


def test_only_lines_that_are_asked_for_are_sent():
    shown = table()
    assert len(shown.first) == 60 and len(shown.rows) == 70
    shown.received({"type": "lines", "start": 60})
    assert shown.sent[-1]["start"] == 60 and len(shown.sent[-1]["lines"]) == 10
    before = shown.version
    shown.received({"type": "choose", "search": "x"})
    assert shown.version == before + 1 and shown.asked == {"search": "x"}
    shown.received({"type": "choose", "sort": "colour"})
    assert shown.error == "ValueError: no such order" and shown.version == before + 1
    shown.received({"type": "apply"})
    assert shown.found == 69
    no_change = "Filters applied: 0 of 70 rows are rejected or dropped; no row's status has changed."
    assert shown.sent[-1] == {"type": "changed", "text": no_change}
    shown._source.changed_count, shown._source.refresh = 0, lambda: 1 / 0
    shown.received({"type": "apply"})
    assert shown.error.startswith("ZeroDivisionError") and shown.sent[-1] == {"type": "refused"}


def test_rows_that_are_selected_together_are_decided_and_undone_by_one_message_each():
    shown = table()
    shown.received({"type": "mark", "do": "replace", "start": 3, "stop": 6, "number": 1})
    shown.received({"type": "mark", "do": "add", "rows": [9, 12], "number": 2})
    shown.received({"type": "mark", "do": "remove", "rows": [4], "number": 3})
    assert shown.marks == {"bits": "3,5,9,12", "count": 4, "shown": 4, "number": 3}
    for wrong in ({"rows": [70]}, {"rows": ["r1"]}, {"rows": [True]}):
        shown.received({"type": "mark", "do": "add", "number": 4, **wrong})
        assert shown.error.startswith("ValueError") and shown.marks["count"] == 4
    shown.received({"type": "decide_marked", "do": "drop", "why": "dull"})
    assert [name for _, name, _, _ in shown._source.done] == ["r3", "r5", "r9", "r12"] and shown.decided == 4
    assert shown.error == "" and shown.marks["count"] == 0 and shown.sent[-1]["type"] == "changed"
    assert shown.mark("add", rows=[1]) == 1 and shown.marks["number"] == 3, "the page's own number stays"


def test_a_map_is_made_when_it_is_asked_for_and_refused_where_there_is_none():
    points = {"rows": [1], "x": [0.5], "y": [0.5], "labels": [0], "names": [HOSTILE], "colours": ["#000"]}
    shown = DatasetTable(Rows(), "ann", lambda colour: {**points, "title": HOSTILE, "colour": colour})
    assert shown.map == {}
    shown.received({"type": "map", "colour": "status"})
    assert shown.map["colour"] == "status" and shown.error == ""
    bare = table()
    bare.received({"type": "map", "colour": "status"})
    assert bare.error == "ValueError: This table was made without a map: etabli.curate(...).table() has one."


class Pairs:
    """What a threshold is chosen with."""

    filter, floor, value = "near", 0.5, 0.8

    def at(self, value):
        pieces = [["same", HOSTILE], ["in", HOSTILE]]
        pair = {
            "ids": ["a", "b"],
            "likeness": 0.9,
            "above": value <= 0.9,
            "outcome": f"{HOSTILE} is removed",
            "difference": pieces,
        }
        return {"value": value, "rows": 9, "gone": int(value <= 0.9), "pairs": 1, "border": [pair]}

    def choose(self, value):
        self.value = value


def test_a_threshold_is_looked_at_and_then_taken():
    shown = ThresholdPairs(Pairs())
    shown.received({"type": "look", "value": 0.95})
    assert shown.seen["gone"] == 0 and shown.chosen == 0.8
    shown.received({"type": "choose", "value": 0.85})
    assert shown._source.value == shown.chosen == 0.85 and "0.85 removes 1 of 9 rows" in repr(shown)
    shown.received({"type": "look", "value": "high"})
    assert shown.error.startswith("ValueError")


class Memory:
    """What a ledger works on: a bar of one phase, twice as long for twice the tokens."""

    model, device, setup = HOSTILE, SimpleNamespace(name="t4"), None

    @property
    def stops(self):
        return {"seq": [64, 128], "batch": [1], "rank": [8], "checkpointing": [0, 1]}

    def slider_positions(self, setup):
        return {"seq": 64, "batch": 1, "rank": 8, "checkpointing": 0}

    def breakdown_at(self, **keys):
        size, limit = keys["seq"] * 2**24, 3 * 2**29
        bar = {"name": "forward", "parts": {"activations": size, "logits": 0}, "tensors": size, "device": size}
        item = {"change": HOSTILE, "saves": size // 2, "fits": True, "cost": "rows are cut"}
        return {
            "phases": [bar | {"measured": size if keys["seq"] == 64 else None}],
            "host": 0,
            "limit": limit,
            "now": keys,
            "peak": {"device": size, "phase": "forward"},
            "fits": size <= limit,
            "recalibrated": None,
            "largest": {"seq": 64, "batch": 1},
            "advice": [] if size <= limit else [item],
        }


def test_a_ledger_answers_its_sliders_and_shows_what_was_measured():
    shown = MemoryLedger(Memory())
    assert shown.seen["fits"] and "measured 1.00 of 1.00" in shown.html() and "etabli-ghost" in shown.html()
    shown.received({"type": "look", "keys": {"seq": 128}})
    assert not shown.seen["fits"] and "does not fit t4" in repr(shown) and "rows are cut" in shown.html()
    assert "etabli-ghost" not in shown.html()  # nobody measured that
    shown.received({"type": "look", "keys": {"layers": 3}})
    assert "no slider for layers" in shown.error
    shown.received({"type": "look", "keys": {"seq": 64}})
    assert shown.error == "" and shown.seen["fits"]


def test_a_round_trip_answers_with_the_pages_own_time():
    trip = RoundTrip()
    assert "pip install" in trip.html() and not trip.ok
    trip.received({"type": "ping", "time": 12.5})
    assert trip.ok and trip.pong == 12.5 and "and back" in trip.html()


POLICY = {"trained": 1, "share": 0.5, "loss": None}
LENS_ROW = {
    "id": HOSTILE,
    "ids": [1, 2],
    "text": [HOSTILE, "x"],
    "role": ["user", "assistant"],
    "offset": [[0, 1], [1, 2]],
    "message": [0, 1],
    "starts": {"0": 0, "1": 1},
    "lengths": {"0": 1, "1": 1},
    "nats": None,
    "cut": 0,
    "trained": {"answers": [False, True]},
    "assertions": {"answers": []},
}
LENS = {
    "version": 1,
    "model": "m",
    "step": 1,
    "steps": 1,
    "policy": "answers",
    "max_length": 9,
    "packs": 1,
    "said": "",
    "rows": [LENS_ROW],
    "policies": {"answers": POLICY},
    "of": 1,
    "failing": {"not-empty": 1},
    "failed": {"not-empty": [[HOSTILE, HOSTILE]]},
}


def test_twins_hold_the_state_and_no_markup_of_others(chat, card):
    chat.ask(HOSTILE)
    for widget in (
        RunMonitor(events=EVENTS, name=HOSTILE),
        chat,
        card,
        table(),
        ThresholdPairs(Pairs()),
        MaskLens(LENS),
        BlindArena(Session()),
        TokenDiff(DIFFS),
        TrainingFilm(FILM),
        MemoryLedger(Memory()),
    ):
        bundle = widget._bundle()
        twin = bundle["text/html"].split("</style>", 1)[1]
        assert "application/vnd.jupyter.widget-view+json" in bundle
        assert "<script" not in twin and "<img" not in twin and "&lt;script" in twin
        assert "\u202e" not in twin and "\\u202e" in twin, "what turns a line round is written out, as in the page"


def test_what_is_hidden_is_written_out_and_joiners_of_scripts_stay():
    from etabli_widgets.markup import visible

    assert visible("pay\u200bpal \u202e a\u200db") == "pay\\u200bpal \\u202e a\\u200db"
    for written in ("👩\u200d👩\u200d👧", "می\u200cخواهم", "line\n\ttab"):
        assert visible(written) == written
    assert visible("👩\u200d") == "👩\\u200d" and visible("\u200d") == "\\u200d"


def test_a_seal_card_shows_where_a_broken_form_differs_and_how_far_the_others_are():
    card = SealCard(seal_sample.SEAL)
    assert card.view["zone"] == 40.0  # 0.01 on an axis from 0.0001 to 10
    assert [form["place"] for form in card.view["forms"]] == [16.9, 43.7, None]
    twin, broken = card.html(), card.view["forms"][2]
    assert "[INST] Answer" in twin and "as it was judged" in twin and "−2 [−6, +1] points: cannot tell" in twin
    assert broken["kl"] == broken["answers"] == "" and broken["prompts"] == "differ"
    assert repr(card).splitlines()[-1] == broken["sentence"]


def test_a_divergence_beyond_the_axis_stands_at_its_end():
    from etabli_widgets import seal_card

    assert [seal_card._place(kl) for kl in (0.0, 1e-9, 1e-4, 10.0, 250.0)] == [0.0, 0.0, 0.0, 100.0, 100.0]


@pytest.mark.parametrize(
    "widget",
    [
        RunMonitor(events=EVENTS),
        ChatCompare({"a": iter}),
        VerdictCard(VIEW),
        table(),
        ThresholdPairs(Pairs()),
        MaskLens(LENS),
        BlindArena(Session()),
        TokenDiff(DIFFS),
        TrainingFilm(FILM),
        MemoryLedger(Memory()),
        RoundTrip(),
        CheckReport({"groups": []}, lambda code, most: {}),
        SealCard(seal_sample.SEAL),
    ],
)
def test_modules_are_whole_and_need_no_network(widget):
    source = widget._esm if isinstance(widget._esm, str) else str(widget._esm)
    assert "export default" in source and "import " not in source and "guardKeys(el)" in source
    for address in ("http://", "https://"):
        assert address not in source.replace("http://www.w3.org/2000/svg", "")


def test_widgets_import_neither_torch_nor_etabli():
    for path in Path(etabli_widgets.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [getattr(node, "module", "")] * isinstance(node, ast.ImportFrom)
            )
            for name in names:
                allowed = {"anywidget", "traitlets", "etabli_widgets", "IPython", *sys.stdlib_module_names}
                assert name.split(".")[0] in allowed, (path, name)


def test_a_run_that_starts_names_what_it_does():
    """Each phase is told before the next event comes, and a resumed run's phase is not that of its earlier life."""
    order = [
        ("memory", {"phase": "load"}, "preparing"),
        ("heartbeat", {}, "preparing"),
        ("start", {"steps": 9}, "the first step"),
        ("memory", {"phase": "forward"}, "the first step"),
        ("retry", {"what": "in 2 parts"}, "the first step"),
        ("memory", {"phase": "forward"}, "the first step"),
        ("memory", {"phase": "backward"}, "the first step"),
        ("memory", {"phase": "optimizer"}, "held-out rows"),
        ("memory", {"phase": "evaluation"}, "held-out loss"),
        ("eval", {"step": 0, "loss": 4.0}, "sample prompts"),
    ]
    events, seen = [], ["loading the model"]
    assert seen[0] in RunMonitor(events=events).html()
    for kind, fields, phase in order:
        events.append({"kind": kind, "t": 1.0, **fields})
        assert phase in RunMonitor(events=events).phase
        seen.append(RunMonitor(events=events).phase)
    phases = [phase for phase, _ in itertools.groupby(seen[1:])]
    assert len(phases) == len(set(phases)), "a phase came back"
    killed = [*events, {"kind": "step", "t": 2.0, "step": 1}, {"kind": "sample", "t": 2.0, "step": 1}]
    assert "loading the model" in RunMonitor(events=killed).phase, "a killed process wrote no end"
    assert "preparing" in RunMonitor(events=[*killed, {"kind": "memory", "t": 3.0, "phase": "load"}]).phase
    ended = [*events, {"kind": "end", "t": 2.0, "state": "stopped"}]
    assert "loading the model" in RunMonitor(events=ended).phase


def test_the_held_out_loss_says_of_which_step_it_is():
    monitor = RunMonitor(events=EVENTS)
    assert monitor.step == 5 and "held-out loss 4.000 at step 0" in monitor.html()


@pytest.mark.parametrize("state", ["completed", "stopped", "failed", "lost"])
def test_stop_leaves_a_run_that_is_over_as_it_is(state):
    asked = []
    monitor = RunMonitor(events=[*EVENTS, {"kind": "end", "t": 9.0, "state": state}], stop=lambda: asked.append(1))
    monitor.received({"type": "stop"})
    assert monitor.state == state and not asked


def test_every_term_of_the_glossary_is_used_and_explained_in_a_sentence():
    scripts = "\n".join(path.read_text() for path in (_base.STATIC).glob("*.js"))
    policies = {"answers", "answers_and_reasoning", "last", "all", "spans"}  # by the policy's name
    heads = {"clusters", "base", "prompted", "lookup", "tuned", "n", "errors"}  # columns of the verdict's tables
    for name, text in markup.GLOSSARY.items():
        assert re.fullmatch(r"[A-Z+0-9].*\.", text) and len(text) < 160, name
        assert f'"{name}"' in scripts or name in policies | heads or f" {name}" in scripts, name

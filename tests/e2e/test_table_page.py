"""The table in Chromium: charts in the heads, sorting, widths, several rows at once, the map, and 100,000 rows."""

import contextlib
import errno
import re
import time
from collections import Counter

import numpy as np
import pytest
from bridged import Bench
from playwright.sync_api import expect
from test_table import BUSY, WATCH, many

import etabli
from etabli.core import json_lines
from etabli.core.contracts import DECISIONS
from etabli.curation.decisions import Decisions
from etabli.data.dataset import Dataset

pytestmark = pytest.mark.e2e
FILTERS = [{"filter": "exact"}, {"filter": "length", "least": 60}]
MANY = 100_000


class Shown:
    """A table over ``many`` rows on a page of its own."""

    def __init__(self, browser, folder, row_count, width=1600):  # wide enough for every column
        self.rows = list(many(row_count))
        if not (folder / "rows").exists():
            Dataset(self.rows).save(folder / "rows")
        self.journal = folder / "rows" / DECISIONS
        self.journal.unlink(missing_ok=True)
        self.widget = etabli.curate(folder / "rows", FILTERS, author="ann").table()
        self.bench = Bench(browser, width=width)
        self.at = self.bench.mount(self.widget, "DatasetTable")
        self.page = self.bench.page
        self.view = self.page.get_by_role("grid")
        self.view.locator(".etabli-line").first.wait_for()

    def head(self, name):
        """The head of a column."""
        return self.page.locator(f".etabli-heads [data-column={name}]")

    def line(self, place):
        """The line at a place."""
        return self.view.locator(f'.etabli-line[data-place="{place}"]:not([hidden])')

    def numbers(self):
        """The numbers of the rows in view, from top to bottom, once they have come."""
        for _ in range(100):
            self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            cells = self.view.locator(".etabli-line:not([hidden])").evaluate_all(
                "lines => lines.map((line) => [Number(line.dataset.place), line.children[1].textContent])"
            )
            texts = [text for _, text in sorted(cells)]
            if "…" not in texts:
                return [int(text) for text in texts]
        raise AssertionError(f"lines that never came: {texts}")

    @contextlib.contextmanager
    def other_rows(self):
        """Wait until the page has the rows that were asked for meanwhile."""
        before = self.widget.version
        yield
        self.page.wait_for_function(f"() => window.models['{self.at}'].model.get('version') > {before}")

    def marked(self):
        """Numbers of the selected rows, as Python has them."""
        return [int(row) for row in self.widget._source.marks.rows]

    def until_marked(self, count):
        """Wait until Python knows of a selection of this size."""
        for _ in range(100):
            if self.widget.marks["count"] == count:
                return
            self.page.wait_for_timeout(50)  # the page's timers go on meanwhile
        raise AssertionError(f"{self.widget.marks['count']} rows are selected, not {count}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rows")


@pytest.fixture
def shown(browser, folder):
    shown = Shown(browser, folder, 3000)
    yield shown
    assert not shown.bench.problems and not shown.bench.asked and not shown.widget.error
    shown.bench.close()


def bars(head):
    """(name, rows, rows shown) of each bar of a head, as its tooltip says."""
    titles = head.locator("title").all_text_contents()
    parts = [re.fullmatch(r"(.*): ([\d,]+) rows?(?:, ([\d,]+) of them shown)?", title).groups() for title in titles]
    numbers = [(name, *(int((text or rows).replace(",", "")) for text in (rows, part))) for name, rows, part in parts]
    return numbers


def test_the_heads_count_all_rows_and_those_that_are_shown(shown):
    source = Counter(row["source"] for row in shown.rows)
    assert {name: rows for name, rows, _ in bars(shown.head("source"))} == source
    answers = np.array([len(row["messages"][1]["content"]) for row in shown.rows])
    drawn = bars(shown.head("answer"))
    assert all(rows == part for _, rows, part in drawn) and sum(rows for _, rows, _ in drawn) == len(answers)
    edges = [float(name.split(" to ")[0].replace(",", "")) for name, _, _ in drawn]
    for edge, (_, rows, _), above in zip(edges, drawn, [*edges[1:], np.inf]):  # edges are rounded in words: two sides
        low = ((answers >= edge + 1) & (answers < above - 1)).sum()
        high = ((answers >= edge - 1) & (answers < above + 1)).sum()
        assert low <= rows <= high
    shown.page.get_by_label("Source", exact=True).select_option("s1")
    expect(shown.page.get_by_text("1,000 of 3,000 rows")).to_be_visible()
    assert [part for name, _, part in bars(shown.head("source"))] == [1000 * (name == "s1") for name in source]
    for column in ("row", "status", "finding", "length", "question", "answer"):
        assert sum(part for *_, part in bars(shown.head(column))) == 1000, column
        assert sum(rows for _, rows, _ in bars(shown.head(column))) == 3000, column
    short = shown.head("answer").locator("g").first
    assert (
        short.locator(".etabli-part-shown").bounding_box()["height"]
        < short.locator(".etabli-all").bounding_box()["height"]
    )


def test_a_click_on_a_head_sorts_and_another_one_turns_it_round(shown):
    length = [len(turns[0]["content"]) + 1 + len(turns[1]["content"]) for turns in (r["messages"] for r in shown.rows)]
    order = sorted(range(3000), key=lambda at: length[at])
    head = shown.head("length")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    assert shown.numbers() == order[: len(shown.numbers())]
    expect(shown.page.get_by_label("Sort by")).to_have_value("length")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    assert shown.numbers() == sorted(order, key=lambda at: -length[at])[: len(shown.numbers())]
    expect(shown.page.get_by_role("button", name="Descending")).to_be_visible()
    expect(shown.head("row")).to_have_attribute("aria-sort", "none")
    # By keys alone: from the first head to the last, which sorts by Enter.
    shown.head("row").get_by_role("button").focus()
    for _ in range(6):
        shown.page.keyboard.press("ArrowRight")
    shown.page.keyboard.press("Enter")
    expect(shown.head("answer")).to_have_attribute("aria-sort", "ascending")
    answers = [row["messages"][1]["content"].casefold() for row in shown.rows]
    assert shown.numbers() == sorted(range(3000), key=lambda at: answers[at])[: len(shown.numbers())]
    shown.widget.choose(sort="question", descending=True)
    shown.bench.sync(shown.at)
    expect(shown.head("question")).to_have_attribute("aria-sort", "descending")
    assert not Decisions(shown.journal).all(), "a key on a head decides nothing"


def test_columns_are_resized_by_pointer_and_keys_and_stay_so(shown):
    def width(name):
        return shown.head(name).bounding_box()["width"]

    before = width("status")
    box = shown.head("status").locator(".etabli-grip").bounding_box()
    shown.page.mouse.move(box["x"] + 3, box["y"] + 10)
    shown.page.mouse.down()
    shown.page.mouse.move(box["x"] + 63, box["y"] + 10, steps=6)
    shown.page.mouse.up()
    assert width("status") == pytest.approx(before + 60, abs=1)
    shown.head("question").get_by_role("button").focus()
    question = width("question")
    shown.page.keyboard.press("Shift+ArrowRight")
    shown.page.keyboard.press("Shift+ArrowRight")
    assert width("question") == pytest.approx(question + 32, abs=1)
    widths = [width("status"), width("question")]
    shown.view.focus()
    for key in ("End", "PageUp", "Home"):
        shown.page.keyboard.press(key)
        shown.numbers()
    shown.head("answer").get_by_role("button").click()
    expect(shown.head("answer")).to_have_attribute("aria-sort", "ascending")
    assert [width("status"), width("question")] == widths
    lefts = "row => [...row.children].map((cell) => Math.round(cell.getBoundingClientRect().left))"
    assert shown.page.locator(".etabli-heads").evaluate(lefts) == shown.line(0).evaluate(lefts)
    assert shown.widget.widths == {"status": round(widths[0]), "question": round(widths[1])}
    shown.head("status").locator(".etabli-grip").dblclick()
    assert width("status") == before


@pytest.mark.parametrize("width", [1280, 1000, 600])
def test_the_row_stands_beside_the_list_where_there_is_room(browser, folder, width):
    shown = Shown(browser, folder, 3000, width)
    shown.line(3).click()
    pane = shown.page.get_by_role("group", name="The chosen row")
    expect(pane).to_contain_text("id r3")
    listed, beside = shown.view.bounding_box(), pane.bounding_box()
    if width > 900:
        assert beside["x"] > listed["x"] + listed["width"] and beside["y"] == pytest.approx(listed["y"], abs=1)
    else:
        assert beside["y"] > listed["y"] + listed["height"] and beside["width"] == pytest.approx(listed["width"], abs=1)
    shown.bench.close()


def test_several_rows_are_selected_decided_and_taken_back_at_once(shown):
    shown.line(2).click()
    shown.line(4).click(modifiers=["Control"])
    shown.line(6).get_by_role("checkbox").click()
    shown.until_marked(2)
    assert shown.marked() == [4, 6]
    assert shown.line(4).get_by_role("checkbox").is_checked() and not shown.line(5).get_by_role("checkbox").is_checked()
    expect(shown.line(4)).to_have_attribute("aria-selected", "true")
    shown.line(9).click(modifiers=["Shift"])  # from the last one that was chosen
    shown.until_marked(4)
    assert shown.marked() == [6, 7, 8, 9]
    for _ in range(3):
        shown.page.keyboard.press("Shift+ArrowDown")
    shown.until_marked(7)
    shown.page.keyboard.press("Escape")
    shown.until_marked(0)
    # Beyond what has come: to the end of all that is sorted by length. The kernel knows which rows these are.
    shown.page.get_by_label("Sort by").select_option("length")
    expect(shown.head("length")).to_have_attribute("aria-sort", "ascending")
    order = [line["at"] for line in shown.widget.rows]
    shown.line(5).click()
    shown.page.keyboard.press("Shift+End")
    shown.until_marked(2995)
    assert shown.marked() == sorted(order[5:])
    shown.page.keyboard.press("Escape")
    shown.page.get_by_label("Search rows").fill("bold")
    expect(shown.page.locator(".etabli-counted")).to_contain_text("of 3,000 rows")
    shown.view.focus()
    shown.page.keyboard.press("Control+a")
    chosen = {row["id"] for row in shown.rows if any("bold" in turn["content"] for turn in row["messages"])}
    shown.until_marked(len(chosen))
    shown.page.keyboard.press("Space")
    shown.until_marked(len(chosen) - 1)
    left_out = shown.rows[int(shown.view.locator("[data-chosen] .etabli-cell-row").inner_text())]["id"]
    heard = shown.bench.heard
    shown.page.get_by_label("Reason").fill("too bold")
    shown.view.focus()
    shown.page.keyboard.press("d")
    expect(shown.page.get_by_text(f"{len(chosen) - 1:,} rows: drop. U takes it back.")).to_be_visible(timeout=20_000)
    assert shown.bench.heard - heard <= 3, "one message, one for the lines in view, one for the row beside"
    standing = Decisions(shown.journal).standing()
    assert set(standing) == chosen - {left_out} and {one["why"] for one in standing.values()} == {"too bold"}
    expect(shown.page.get_by_role("button", name="Drop (D)")).to_be_visible()
    expect(shown.view.locator(".etabli-line[data-status=dropped]").first).to_be_visible()
    shown.view.focus()
    shown.page.keyboard.press("u")
    expect(shown.page.get_by_text(f"{len(chosen) - 1:,} rows are as they were.")).to_be_visible(timeout=20_000)
    assert Decisions(shown.journal).standing() == {}
    expect(shown.view.locator(".etabli-line[data-status=dropped]")).to_have_count(0)


def test_where_no_row_matches_none_is_decided_about_and_none_is_open(shown):
    buttons = [shown.page.get_by_role("button", name=name) for name in ("Keep (K)", "Fix (F)", "Drop (D)")]
    pane = shown.page.locator(".etabli-detail")
    expect(pane).to_contain_text("id ")
    opened = shown.widget.detail["id"]
    with shown.other_rows():
        shown.page.get_by_label("Search rows").fill("zzzz")
    expect(pane).to_have_text("The row that you choose is shown here.")
    for button in buttons:
        expect(button).to_be_disabled()
    for key in "kfd":
        shown.view.press(key)
        expect(shown.page.get_by_text("No row is chosen.")).to_be_visible()
    shown.widget.on_open({"id": opened})  # a click that was under way
    assert not shown.widget.detail and not shown.widget.decided
    with shown.other_rows():
        shown.page.get_by_label("Search rows").fill("")
    expect(pane).to_contain_text(f"id {opened}")
    for button in buttons:
        expect(button).to_be_enabled()
    shown.widget.mark("add", rows=[3])
    with shown.other_rows():
        shown.page.get_by_label("Search rows").fill("zzzz")
    expect(shown.page.get_by_role("button", name="Drop 1 (D)")).to_be_enabled()  # of a row that is selected
    expect(buttons[1]).to_be_disabled()


def test_of_many_sources_each_is_chosen_by_name_and_none_widens_the_bar(browser, tmp_path):
    rows = [{**row, "source": f"s{number:03}"} for number, row in enumerate(many(120))]
    Dataset([{**rows[0], "source": "a long name " * 8}, {**rows[1], "source": None}, *rows[2:]]).save(tmp_path / "rows")
    shown = Shown(browser, tmp_path, 120, width=700)
    field = shown.page.get_by_label("Source", exact=True)
    assert field.get_attribute("placeholder") == "any of 120 sources"
    for text, count in (("s117", 1), ("S11", 10), ("no source", 1), ("a long name", 1)):
        with shown.other_rows():
            field.fill(text)
            field.press("Enter")
        expect(shown.page.locator(".etabli-counted")).to_have_text(f"{count} of 120 rows")
    assert field.bounding_box()["width"] <= 180
    shown.bench.close()
    Dataset([{**rows[0], "source": "a long name " * 8}, *rows[50:52]]).save(tmp_path / "few" / "rows")
    shown = Shown(browser, tmp_path / "few", 3, width=700)
    few = shown.page.get_by_label("Source", exact=True)
    assert few.bounding_box()["width"] <= 180 and few.locator("option").count() == 4
    shown.bench.close()


def test_filters_that_are_applied_again_say_what_they_changed(browser, tmp_path):
    shown = Shown(browser, tmp_path, 300)
    lengths = [len(row["messages"][1]["content"]) for row in shown.rows]
    rejected = sum(shown.widget._source.statuses().get(name, 0) for name in ("rejected", "dropped"))
    assert rejected == sum(length < 60 for length in lengths) > 0
    shown.view.focus()
    shown.page.keyboard.press("a")
    said = shown.page.get_by_text("Filters applied:")
    expect(said).to_have_text(
        f"Filters applied: {rejected} of 300 rows are rejected or dropped; no row's status has changed."
    )
    shown.widget._source.curation.set("length", least=120)
    shown.page.get_by_role("button", name="Apply filters again").click()
    now = sum(length < 120 for length in lengths)
    expect(said).to_contain_text(
        f"{now} of 300 rows are rejected or dropped; the status of {now - rejected} rows has changed."
    )
    shown.bench.close()


def test_the_selection_is_one_in_the_list_and_in_the_map(shown):
    shown.page.get_by_role("button", name="Map").click()
    canvas = shown.page.get_by_role("img", name="Map of 3,000 rows by finding")
    canvas.wait_for(timeout=60_000)
    points = shown.widget.map
    box, margin = canvas.bounding_box(), 10
    wide, high = box["width"] - 2 * margin - 2, 260 - 2 * margin  # the border is a pixel on each side

    def place(x, y):
        return box["x"] + 1 + margin + x * wide, box["y"] + 1 + margin + (1 - y) * high

    shown.page.mouse.move(*place(0.4, 0.4))
    shown.page.mouse.down()
    for corner in ((0.6, 0.4), (0.6, 0.7), (0.4, 0.7)):
        shown.page.mouse.move(*place(*corner), steps=4)
    shown.page.mouse.up()
    expect(shown.page.get_by_text("selected", exact=False).first).to_be_visible()

    def inside(slack):
        x, y = np.array(points["x"]), np.array(points["y"])
        within = (abs(x - 0.5) < 0.1 + slack / wide) & (abs(y - 0.55) < 0.15 + slack / high)
        return {points["rows"][at] for at in np.flatnonzero(within)}

    shown.page.wait_for_timeout(600)
    marked = set(shown.marked())
    assert inside(-2) <= marked <= inside(2) and 100 < len(marked) < 2900
    shown.page.get_by_role("button", name="Only these").click()
    expect(shown.page.locator(".etabli-counted")).to_have_text(f"{len(marked):,} of 3,000 rows")
    assert {line["at"] for line in shown.widget.rows} == marked
    shown.page.get_by_role("button", name="Only these").click()
    expect(shown.page.locator(".etabli-counted")).to_have_text("3,000 rows")
    shown.page.get_by_role("button", name="Select none").click()
    expect(canvas).to_have_attribute("aria-label", re.compile("0 of its points"))
    shown.line(7).get_by_role("checkbox").click()
    expect(canvas).to_have_attribute("aria-label", re.compile("1 of its points"))
    far = int(np.argmax(np.abs(np.array(points["x"]) - 0.5)))  # a point by itself: a click on it opens its row
    shown.page.mouse.click(*place(points["x"][far], points["y"][far]))
    expect(shown.page.get_by_role("group", name="The chosen row")).to_contain_text(f"id r{points['rows'][far]} ")
    expect(shown.line(points["rows"][far])).to_have_attribute("data-chosen", "")


def test_a_row_that_code_opens_is_the_one_that_keys_decide_about(shown):
    shown.widget.open_row("r1500")
    shown.bench.sync(shown.at)
    expect(shown.line(1500)).to_have_attribute("data-chosen", "")
    expect(shown.line(1500).locator(".etabli-cell-row")).to_have_text("1500")
    shown.view.focus()
    shown.page.keyboard.press("k")
    expect(shown.line(1500)).to_have_attribute("data-status", "kept")
    assert list(Decisions(shown.journal).standing()) == ["r1500"]


def test_a_key_that_is_held_sends_four_messages_a_second_and_loses_no_row(shown):
    shown.line(0).click()
    shown.page.wait_for_timeout(500)
    heard, began = shown.bench.heard, time.monotonic()
    for _ in range(60):
        shown.page.keyboard.press("Shift+ArrowDown")
        shown.page.wait_for_timeout(25)
    seconds = time.monotonic() - began
    shown.until_marked(61)
    assert shown.marked() == [*range(61)]
    assert shown.bench.heard - heard <= 4 * seconds + 4  # and the rows that are opened when the keys rest


def test_what_a_full_disk_refuses_is_told_and_stays_selected(browser, folder, monkeypatch):
    shown = Shown(browser, folder, 3000)
    shown.view.focus()
    shown.page.keyboard.press("Control+a")
    shown.until_marked(3000)

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(json_lines.os, "fsync", full)
        shown.page.keyboard.press("d")
        expect(shown.page.locator(".etabli-error")).to_contain_text("NoSpace", timeout=20_000)
    expect(shown.page.get_by_text("3,000 selected")).to_be_visible()
    expect(shown.page.get_by_text("Saving")).to_have_count(0)
    assert Decisions(shown.journal).all() == []
    shown.bench.close()


# --- 100,000 rows: what a person does with them; each act can be done again -----------------------------------------


def scroll(shown):
    box = shown.view.bounding_box()
    shown.page.mouse.move(box["x"] + 200, box["y"] + 200)
    for _ in range(40):
        shown.page.mouse.wheel(0, 900)
        shown.page.wait_for_timeout(16)
    for share in (0.9, 0.1, 0.5, 1.0, 0.3):
        shown.view.evaluate("(view, share) => { view.scrollTop = share * view.scrollHeight; }", share)
        shown.page.wait_for_timeout(120)
    numbers = shown.numbers()
    assert numbers == [*range(numbers[0], numbers[0] + len(numbers))] and numbers[0] > MANY / 5


def sort(shown):
    for name in ("length", "question", "finding", "answer", "answer", "row"):
        with shown.other_rows():
            shown.head(name).get_by_role("button").click()
        shown.numbers()


def search(shown):
    for words in ("harbour", "harbour boat", ""):
        with shown.other_rows():
            shown.page.get_by_label("Search rows").fill(words)
    for finding in ("length", ""):
        with shown.other_rows():
            shown.page.get_by_label("Finding", exact=True).select_option(finding)


def select(shown):
    shown.line(2).click()
    shown.page.keyboard.press("Shift+End")
    shown.until_marked(MANY - 2)
    shown.page.keyboard.press("Escape")
    shown.page.keyboard.press("Control+a")
    shown.until_marked(MANY)
    shown.page.keyboard.press("Home")
    for _ in range(20):
        shown.page.keyboard.press("Shift+ArrowDown")
    shown.until_marked(21)


def decide(shown):
    select(shown)
    shown.page.keyboard.press("k")
    expect(shown.page.get_by_text("21 rows: keep")).to_be_visible(timeout=20_000)
    shown.page.keyboard.press("u")
    expect(shown.page.get_by_text("21 rows are as they were")).to_be_visible(timeout=20_000)


def draw_around(shown):
    canvas = shown.page.locator("canvas")
    if not canvas.is_visible():
        shown.page.get_by_role("button", name="Map").click()
    shown.page.get_by_role("img", name="Map of 5,000 of 100,000 rows").wait_for(timeout=120_000)
    box = canvas.bounding_box()
    shown.page.mouse.move(box["x"] + 300, box["y"] + 40)
    shown.page.mouse.down()
    for x, y in ((900, 40), (900, 220), (300, 220)):
        shown.page.mouse.move(box["x"] + x, box["y"] + y, steps=15)
    shown.page.mouse.up()


def longest_task(shown, act):
    """Do it, and return the longest task of the page in ms; up to three times, since a busy machine stretches tasks."""
    times = []
    while not times or (times[-1] > 50 and len(times) < 3):
        shown.page.wait_for_timeout(300)
        shown.page.evaluate("() => { window.longest = 0; }")
        act(shown)
        shown.page.wait_for_timeout(400)
        times.append(round(shown.page.evaluate("window.longest")))
    return min(times)


def test_100000_rows_block_the_page_for_no_more_than_50_ms(browser, tmp_path, count):
    shown = Shown(browser, tmp_path, MANY)
    seconds, answer = Counter(), shown.widget.received

    def timed(content):
        began = time.perf_counter()
        answer(content)
        seconds[content["type"]] = max(seconds[content["type"]], time.perf_counter() - began)

    shown.widget.received = timed
    shown.page.evaluate(WATCH)
    shown.page.evaluate(BUSY)
    shown.page.wait_for_function("() => window.longest > 100")  # the watch sees what it is there to see
    longest = {act.__name__: longest_task(shown, act) for act in (scroll, sort, search, select, decide, draw_around)}
    milliseconds = {name: round(1000 * value) for name, value in seconds.items()}
    count("table_100000_rows_longest_task_ms", longest)
    count("table_100000_rows_slowest_answer_ms", milliseconds)
    assert not shown.bench.problems and not shown.widget.error
    assert max(longest.values()) <= 50, (longest, milliseconds)
    assert max(milliseconds[name] for name in ("choose", "lines", "mark", "open")) < 2000, milliseconds
    shown.bench.close()

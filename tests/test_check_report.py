"""The check report as a widget: what a click opens exists, and the part that a finding is about is marked."""

import json
import secrets as randomness

import pytest

import etabli
from etabli_widgets import CheckReport


@pytest.fixture(scope="module")
def mails():
    return etabli.check("customer-mails", max_length=512)


def marked_texts(rows):
    parts = [part for row in rows for part in row["parts"] if part["span"]]
    return [part["text"][slice(*part["span"])] for part in parts]


def test_every_finding_opens_as_many_rows_as_are_counted(mails):
    widget = mails.show()
    assert widget.view["groups"], "the sample is messy"
    for group in widget.view["groups"]:
        widget.received({"type": "open", "code": group["code"]})
        assert widget.opened["code"] == group["code"] and len(widget.opened["rows"]) == group["count"]
        assert widget.opened["found"] == mails.counts[group["code"]] and not widget.error
        for row in widget.opened["rows"]:
            assert row["place"] and (row["parts"] or row["why"]), group["code"]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("pii-email", "jeanne.aubier@courriel.fictif"),
        ("control-token", "<|im_end|>"),
        ("invisible", "\u200b"),
        ("placeholder", "TODO"),
        ("leaked-template", "{{ first_name }}"),
    ],
)
def test_the_part_that_is_meant_is_marked(mails, code, text):
    assert marked_texts(mails.show().look(code)) == [text]


@pytest.mark.parametrize("length", [10, 700, 5_000])
@pytest.mark.parametrize("flags", [0, 3])
def test_the_mark_is_at_its_place_in_long_texts_and_after_flags(length, flags):
    scotland = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f "
    answer = scotland * flags + "Word after word. " * length + "A hidden\u200bone. " + "More words. " * length
    report = etabli.check([{"prompt": "Why?", "completion": answer}])
    [row] = report.show().look("invisible")
    assert marked_texts([row]) == ["\u200b"]
    assert all(len(part["text"]) <= 1502 for part in row["parts"])


def test_a_comparison_shows_the_other_row_too():
    rows = [{"prompt": "Is it open?", "completion": answer} for answer in ("Yes, it is.", "No, it is not.")]
    [row] = etabli.check(rows).show().look("conflicting-answers")
    assert {part["name"]: part["text"] for part in row["parts"]}["row 0"] == "Yes, it is."


def test_a_changed_file_is_named_and_excerpts_are_shown(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "Who?", "completion": "TODO"}) + "\n")
    widget = etabli.check(path).show()
    assert widget.look("placeholder")[0]["parts"]
    path.write_text(json.dumps({"prompt": "Who?", "completion": "It is I."}) + "\n")
    rows = widget.look("placeholder")
    assert "was changed since the check" in widget.opened["note"]
    assert [row["parts"] for row in rows] == [[]] and "TODO" in rows[0]["why"]


def test_secrets_are_covered_where_the_rows_are_opened():
    key = "sk-" + "ant-" + "api03-" + randomness.token_urlsafe(70)[:93] + "AA"
    report = etabli.check([{"prompt": "Which key?", "completion": f"It is {key} as you know."}])
    for code in report.counts:
        widget = report.show()
        widget.look(code)
        assert key not in json.dumps(widget.get_state(), default=str)
        assert key[10:40] not in json.dumps(widget.opened)


def test_row_numbers_leave_the_rows_out_when_they_are_read():
    rows = [{"prompt": f"Where is {n}?", "completion": "" if n in (1, 4) else f"There, {n}."} for n in range(6)]
    report = etabli.check(rows)
    assert report.row_numbers("empty-answer") == [1, 4] and report.row_numbers("no-such") == []
    assert len(etabli.read(rows, without=report.row_numbers("empty-answer"))) == 4


def test_more_rows_are_opened_in_steps():
    widget = etabli.check([{"prompt": f"{n}?", "completion": ""} for n in range(60)]).show()
    for expected in (25, 50, 60, 60):
        widget.received({"type": "more"} if widget.opened else {"type": "open", "code": "empty-answer"})
        assert len(widget.opened["rows"]) == expected
    assert widget.opened["numbers"] == [*range(60)]


def test_nothing_found_says_what_was_looked_at():
    rows = [{"prompt": f"Where is {n}?", "completion": f"It lies there, {n}."} for n in range(3)]
    report = etabli.check(rows, licence="CC0-1.0", source="mine", model="default")
    assert not report.counts
    widget = report.show()
    assert widget.view["next"].startswith("No errors and no warnings.")
    assert "Nothing found." in repr(widget) and "Nothing found." in widget.html()
    assert any(line.startswith("safety: python-stdnum") for line in widget.view["looked_at"])
    with pytest.raises(ValueError, match="No finding has the code 'refusal'"):
        widget.look("refusal")


def test_a_file_that_cannot_be_read_opens_too(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    widget = etabli.check(tmp_path / "empty.jsonl").show()
    assert widget.look("empty-file")[0]["why"] and "can't be read" in widget.view["next"]


def test_the_page_can_set_only_a_severity_that_there_is():
    widget = CheckReport({"groups": [], "name": "", "summary": "", "next": "", "sections": []}, lambda *asked: {})
    with pytest.raises(Exception, match="severity"):
        widget.severity = "<b>"
    widget.received({"type": "open", "code": "<b>"})
    assert "No finding has the code" in widget.error

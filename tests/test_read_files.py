"""Files that a person may have cut or edited: each key missing or of another type is one sentence, or changes nothing.

Every place of the file is changed in turn, in every way; then all that reads the file is asked.
"""

import copy
import json
from typing import TypedDict

import pytest

from etabli.core import contract_check, contracts, storage
from etabli.core.errors import Damaged, EtabliError
from etabli.evaluation import card, rescore, table
from etabli.review import answers, token_diff
from etabli.runs import events, progress
from etabli.runs.state import StateReader

OTHERS = [None, "1.5", [], {}, -1, 10**400, 2**62, "\ud800", 1.5]
GONE = object()


def places(value, path=()):
    """A path to every key, and to the first item of every list."""
    items = value.items() if isinstance(value, dict) else list(enumerate(value))[:1] if isinstance(value, list) else ()
    for name, item in items:
        yield (*path, name)
        yield from places(item, (*path, name))


def changed(value, path, other):
    made = copy.deepcopy(value)
    held = made
    for name in path[:-1]:
        held = held[name]
    if other is GONE:
        del held[path[-1]]
    else:
        held[path[-1]] = other
    return made


def outcomes(value, read):
    """For every change: the error, or None. Any error that is none of our own is raised."""
    for path in places(value):
        for other in [GONE, *OTHERS]:
            try:
                read(changed(value, path, other))
            except EtabliError as error:
                yield path, str(error)
            except Exception as error:
                raise AssertionError(f"{'.'.join(map(str, path))} as {other!r:.60}: {error!r}") from error
            else:
                yield path, None


def read_results(made):
    """All that reads results: the report, the card and its rows, a second scoring, the arena."""
    results = rescore.read_results(made)
    storage.to_json(results).encode()
    table.format_results(results).encode()
    card.view(results)
    for score in results["scores"]:
        card.pick_rows(results, score["name"], score["slice"])
        for gap in score["differences"]:
            card.pick_rows(results, score["name"], score["slice"], against=gap["minus"], which="fixed")
    again, _ = rescore.rescore_results(results)
    table.format_results(again).encode()
    answers.comparison_from_results(results)


def test_results_that_a_person_gives(answered, tmp_path):
    one_of_each = list({row["lang"]: row for row in answered["rows"]}.values())
    small = {**answered, "rows": one_of_each, "scores": answered["scores"][:2]}
    path = tmp_path / "results.json"

    def read(made):
        path.write_text(json.dumps(made))
        read_results(path)

    read(small)
    said = list(outcomes(small, read))
    assert len(said) > 1200
    errors = [text for _, text in said if text]
    assert len(errors) > 800 and all("evaluate again" in text and str(path) in text for text in errors)
    by_place = {(".".join(map(str, place)), text) for place, text in said}
    assert ("metrics.0.spec", f"{path}: `metrics.0.spec` is missing. {rescore.NEXT_STEP}") in by_place
    assert ("seed", f"{path}: `seed` is a text, not a whole number. {rescore.NEXT_STEP}") in by_place
    assert any(place == "rows.0.truth" and "half a character" in text for place, text in by_place if text)


def test_token_differences_that_a_person_gives(tmp_path):
    moves = {name: [0.5] for name in ("logp", "base_logp", "kl")} | {"ids": [1], "rank": [1], "base_rank": [2]}
    moves |= {"tokens": ["a"], "top": [[["a", -0.1]]], "base_top": [[["b", -0.2]]]}
    row = {"id": "r", "prompt": "p", "answer": "a", "move": 0.1, "at": 0, "total": 0.1, "kl": 0.0, "moves": moves}
    fields = {"model": "m", "adapter": "x", "of": "tuned", "limit": None, "answers": "h", "said": [], "rows": [row]}
    path = tmp_path / "token_diff.json"

    def read(made):
        path.write_text(json.dumps(made))
        widget = token_diff.token_diff(path)
        widget.html()
        storage.to_json(widget.get_state().get("lines")).encode()

    read({"version": contracts.VERSION, **fields})
    said = list(outcomes({"version": contracts.VERSION, **fields}, read))
    errors = [text for _, text in said if text]
    assert len(errors) > 150 and all("measure again" in text for text in errors)


def test_events_and_processes_that_a_person_gives(tmp_path):
    lines = [
        {"kind": "start", "t": 1.0, "steps": 3, "rows": 2, "trained_tokens_total": 9},
        {"kind": "step", "t": 2.0, "step": 1, "loss": 1.5, "lr": 0.1, "tokens_per_s": 5.0, "memory_bytes": 7},
        {"kind": "eval", "t": 2.5, "step": 1, "loss": 1.5, "by": {"en": 1.5}},
        {"kind": "step", "t": 3.0, "step": 2, "loss": 1.25, "lr": 0.1, "tokens_per_s": 5.0, "memory_bytes": 7},
        {"kind": "sample", "t": 3.5, "step": 2, "probe": 0, "text": "a", "ids": [1], "tokens": ["a"], "logp": [-1.0]},
    ]
    process = {"pid": 1, "started": 1.0, "host": "elsewhere", "events_before": 0}

    def read(made):
        written = [line for name, line in made.items() if name != "process"]
        (tmp_path / contracts.EVENTS).write_text("".join(json.dumps(line) + "\n" for line in written))
        (tmp_path / contracts.PROCESS).write_text(json.dumps(made.get("process")))
        reader = StateReader(tmp_path)
        assert reader.state() in contracts.STATES and isinstance(reader.why(), str)
        current = events.drop_superseded(reader.all_events())
        storage.to_json(progress.measure_progress(current))
        assert events.count_events(tmp_path) == len(reader.all_events()), "both sides count the same"

    by_number = {str(number): line for number, line in enumerate(lines)}
    said = list(outcomes({**by_number, "process": process}, read))
    assert len(said) > 200 and all(text is None for _, text in said), "a damaged line is passed over"
    damaged = [{**lines[1], "loss": "1.5"}, {**lines[2], "by": {"en": "x"}}, {**lines[1], "step": 10**400}]
    assert not any(map(events.is_event, damaged)) and all(map(events.is_event, lines))


class Example(TypedDict):
    name: str
    numbers: list[float | None]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"name": "a", "numbers": [1, 2.5, None], "more": 1}, ""),
        ([], "it is a list, not an object"),
        ({"name": "a"}, "`numbers` is missing"),
        ({"name": 1, "numbers": []}, "`name` is a whole number, not a text"),
        ({"name": "a", "numbers": [1, "2"]}, "`numbers.1` is a text, not a number"),
        ({"name": "\udfff", "numbers": []}, "`name` holds half a character (a lone surrogate)"),
        ({"name": "a", "numbers": [10**30]}, "`numbers.0` is a whole number that is too large"),
    ],
)
def test_the_first_problem_has_its_place(value, problem):
    assert contract_check.find_problem(value, Example) == problem
    if problem:
        with pytest.raises(Damaged, match="Make it again"):
            contract_check.require(value, Example, "x.json", "Make it again.")

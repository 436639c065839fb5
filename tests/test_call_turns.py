"""Each tool call within a conversation is a question of its own, which knows nothing of what comes after it."""

import copy
import hashlib
import json
import shutil

import pytest

import etabli
from etabli.core import contracts
from etabli.core.contracts import Message, Row
from etabli.core.errors import BadData
from etabli.data import questions
from etabli.data.dataset import Dataset
from etabli.evaluation import rescore, test_set
from etabli.evaluation.call_turns import describe_split, split_at_calls
from etabli.evaluation.clean_answer import judged_truth
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run

TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.tool_calls or [] %}<tool_call>\n"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}\n</tool_call>\n{% endfor %}'
    "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def text(content: str) -> Message:
    return {"role": "assistant", "content": content}


def call(city: str) -> Message:
    function = {"name": "get_weather", "arguments": {"city": city}}
    return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}


def result(content: str) -> Message:
    return {"role": "tool", "content": content}


def row(name: str, *messages: Message, **fields: object) -> Row:
    return {"id": name, "messages": list(messages), "tools": [TOOL], "split": "test", **fields}  # type: ignore[typeddict-item]


def two_calls(name: str, city: str, other_city: str, **fields: object) -> Row:
    """A greeting, then a call, its result and a text, twice."""
    return row(
        name,
        {"role": "system", "content": "Be brief."},
        user(f"Hello from {city}"),
        text("Hello!"),
        user(f"Weather in {city}?"),
        call(city),
        result(f"{city}: 21 degrees"),
        text(f"It is warm in {city}."),
        user(f"And in {other_city}?"),
        call(other_city),
        result(f"{other_city}: 9 degrees"),
        text(f"It is cold in {other_city}."),
        **fields,
    )


UNTOUCHED = [
    row("plain", user("Hi"), text("Hello.")),
    row("many-texts", user("Hi"), text("Hello."), user("Bye"), text("Goodbye.")),
    row("last-call", user("Hi"), text("Hello."), user("Weather in Rome?"), call("Rome")),
    row("unanswered", user("Hi")),
    row("open-call", user("Weather in Rome?"), call("Rome"), result("22 degrees")),
]


def saved_run(tmp_path, model, rows: list[Row]) -> Run:
    Dataset(rows).save(tmp_path / "data")
    Recipe(data=str(tmp_path / "data"), model=str(model)).save(tmp_path / "run" / contracts.RECIPE)
    return Run.attach(tmp_path / "run")


def test_each_call_and_the_last_answer_is_a_question():
    whole = two_calls("r12", "Lyon", "Nice", parents=["older"], lang="en")
    before = copy.deepcopy(whole)
    parts = split_at_calls(whole)
    assert [part["id"] for part in parts] == ["r12#4", "r12#8", "r12#10"]
    lyon, nice = (json.dumps({"arguments": {"city": city}, "name": "get_weather"}) for city in ("Lyon", "Nice"))
    assert [judged_truth(part).text for part in parts] == [lyon, nice, "It is cold in Nice."]
    assert [questions.question(part) for part in parts] == [before["messages"][:place] for place in (4, 8, 10)]
    assert [part["parents"] for part in parts] == [["older", "r12"]] * 3
    for part in parts:
        assert {key: part[key] for key in ("tools", "lang", "split")} == {
            key: before[key] for key in ("tools", "lang", "split")
        }
    assert whole == before, "the data stay as they are"


def test_no_question_has_its_truth_or_a_later_turn():
    """Every turn has a word of its own; a question's part of the row has those of the turns before the truth."""
    whole = row("r", user("w0"), call("w1"), result("w2"), call("w3"), result("w4"), text("w5"), user("w6"), call("w7"))
    parts = split_at_calls(whole)
    assert [part["id"] for part in parts] == ["r#1", "r#3", "r#7"]
    for part in parts:
        place = int(part["id"].partition("#")[2])
        asked, all_of_it = json.dumps(questions.question(part)), json.dumps(part)
        assert [f"w{number}" in asked for number in range(8)] == [number < place for number in range(8)]
        assert [f"w{number}" in all_of_it for number in range(8)] == [number <= place for number in range(8)]


@pytest.mark.parametrize("untouched", UNTOUCHED, ids=lambda one: one["id"])
def test_rows_without_an_earlier_call_are_untouched(untouched):
    [part] = split_at_calls(untouched)
    assert part is untouched and not describe_split([untouched], [[part]])


def test_an_empty_last_answer_is_no_question_and_is_counted():
    empty = row("e", user("Weather in Rome?"), call("Rome"), result("22"), text(""))
    assert [part["id"] for part in split_at_calls(empty)] == ["e#1"]
    rows = [empty, two_calls("r", "Lyon", "Nice"), UNTOUCHED[0]]
    [sentence] = describe_split(rows, list(map(split_at_calls, rows)))
    assert "2 of 3 test rows" in sentence and "4 questions" in sentence
    assert "1 of these rows end in an empty answer" in sentence


def test_the_test_set_keeps_a_conversation_in_one_cluster(tmp_path, tiny):
    """The limit counts rows; a first question that two rows share joins their clusters, the last ones differ."""
    shared = [
        row("s1", user("Weather in Bonn?"), call("Bonn"), result("1"), text("Cold.")),
        row("s2", user("Weather in Bonn?"), call("Bonn"), result("30"), text("Hot.")),
    ]
    rows = [two_calls("a", "Lyon", "Nice"), two_calls("b", "Oslo", "Turku"), *shared, UNTOUCHED[1]]
    train = [{**row("t", user("Hi there"), text("Hello.")), "split": "train"}]
    run = saved_run(tmp_path, tiny, [*train, *rows])
    tests = test_set.build_test_set(run, by=("lang", "length"))
    cluster_of = dict(zip([test["id"] for test in tests.tests], tests.clusters))
    assert list(cluster_of) == [
        *("a#4", "a#8", "a#10", "b#4", "b#8", "b#10", "s1#1", "s1#3", "s2#1", "s2#3", "many-texts")
    ]
    groups = [{cluster_of[name] for name in cluster_of if name[0] == first} for first in "absm"]
    assert all(len(group) == 1 for group in groups) and len(set.union(*groups)) == 4
    assert len(tests.slices) == len(tests.overlaps) == len(tests.tests)
    assert [sentence for sentence in tests.warnings if "4 of 5 test rows" in sentence and "10 questions" in sentence]
    limited = test_set.build_test_set(run, limit=2)
    assert [test["id"] for test in limited.tests] == list(cluster_of)[:6]


def test_a_column_that_clusters_keeps_a_conversation_in_one_cluster(tmp_path, tiny):
    rows = [two_calls("a", "Lyon", "Nice", source="x"), two_calls("b", "Oslo", "Turku"), two_calls("c", "Rome", "Bari")]
    tests = test_set.build_test_set(saved_run(tmp_path, tiny, rows), cluster="source")
    assert [tests.clusters[start : start + 3] for start in (0, 3, 6)] == [["x"] * 3, ["row 1"] * 3, ["row 2"] * 3]


def test_a_data_set_without_calls_has_the_same_tests_and_hashes(tmp_path, tiny):
    rows = [one for one in UNTOUCHED if one["id"] in ("plain", "many-texts")]
    tests = test_set.build_test_set(saved_run(tmp_path, tiny, rows))
    assert tests.tests == Dataset.open(tmp_path / "data").rows and not tests.warnings
    contents = [[one["id"], [[turn["role"], turn["content"]] for turn in one["messages"]]] for one in rows]
    assert tests.provenance["rows_hash"] == hashlib.sha256(json.dumps(contents).encode()).hexdigest()


def test_rows_that_end_in_an_empty_answer_are_left_out_without_a_call(tmp_path, tiny):
    empty = row("empty", user("Hi"), text(""))
    run = saved_run(tmp_path, tiny, [empty, row("e", user("Weather?"), call("Rome"), result("22"), text(""))])
    tests = test_set.build_test_set(run)
    assert [test["id"] for test in tests.tests] == ["e#1"]
    assert "1 of 2 test rows end in an empty answer" in tests.warnings[0]
    with pytest.raises(BadData, match="All 1 test rows"):
        test_set.build_test_set(saved_run(tmp_path / "other", tiny, [empty]))


def test_calls_within_conversations_are_judged_in_all_systems(tmp_path, tiny, runs, no_owner):
    """Lookup knows each call and text of training conversations that differ from the tests by a word."""
    shutil.copytree(tiny, tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text(TEMPLATE)
    cities = [("Lyon", "Nice"), ("Oslo", "Turku"), ("Rome", "Bari")]
    train = [{**two_calls(f"t{number}", *pair), "split": "train"} for number, pair in enumerate(cities)]
    tests = [two_calls(f"r{number}", *pair) for number, pair in enumerate(cities)]
    for test in tests:
        test["messages"][1] = user(test["messages"][1]["content"] + " today")
    run = saved_run(tmp_path, tmp_path / "model", [*train, *tests])
    shutil.copytree(runs / "changed" / "adapter", tmp_path / "run" / "adapter")
    results = etabli.evaluate(run, max_new_tokens=4, progress=lambda *_: None)
    names = ["r0#4", "r0#8", "r0#10", "r1#4", "r1#8", "r1#10", "r2#4", "r2#8", "r2#10"]
    assert [one["id"] for one in results["rows"]] == names
    scores = {score["name"]: score for score in results["scores"] if score["slice"] == contracts.ALL}
    assert (scores["call_name"]["n"], scores["over_calling"]["n"], scores["tool_call"]["n"]) == (6, 3, 9)
    for name, value in (("tool_call", 1.0), ("call_arguments", 1.0), ("over_calling", 0.0), ("exact", 1.0)):
        assert scores[name]["arms"]["lookup"]["value"] == value, name
    for one in results["rows"]:
        training_row = one["id"].replace("r", "t")
        assert one["rendered"]["lookup"].startswith(f"The closest training row ({training_row})")
        assert one["row"]["messages"][-1]["role"] == "assistant" and one["overlap"] is None
        assert one["truth"] not in one["rendered"]["base"], "no system sees the truth"
        later = [turn["content"] for turn in tests[int(one["id"][1])]["messages"][len(one["row"]["messages"]) :]]
        assert not [content for content in later if content and content in one["rendered"]["base"]]
    assert any("3 of 3 test rows" in sentence and "9 questions" in sentence for sentence in results["warnings"])
    again, report = rescore.rescore_results(rescore.read_results(run))
    assert report["same"] and [one["id"] for one in again["rows"]] == names

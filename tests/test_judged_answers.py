"""What is compared: tool calls in each family's form, answers after a thought and without a fence, accents as one."""

import copy
import json
import re
import shutil
import sys
import unicodedata
from pathlib import Path

import pytest

import etabli
from etabli.core import contracts, storage
from etabli.core.errors import BadData
from etabli.data.dataset import Dataset
from etabli.evaluation import card, rescore, table
from etabli.evaluation.call_probe import find_call_format
from etabli.evaluation.clean_answer import AnswerMarks, ThoughtMarks, clean, clean_raw, find_answer_marks
from etabli.evaluation.scores import calls as call_scores
from etabli.evaluation.scores import load_scores
from etabli.rendering.template_engine import Conversation, apply_template
from etabli.review import token_diff
from etabli.runs.recipe import Recipe

sys.path.insert(0, str(Path(__file__).parent))

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer", "default": 1},
                "units": {"type": "string", "default": "metric"},
            },
            "required": ["city"],
        },
    },
}


def call(name="get_weather", **arguments):
    return {"name": name, "arguments": arguments}


def turn(*made):
    """An assistant's turn with these calls, as a data set holds it."""
    held = [{"id": "abcdefghi", "type": "function", "function": copy.deepcopy(one)} for one in made]
    return {"role": "assistant", "content": "", "tool_calls": held}


def conversation(*made, asked="Weather in Lyon?"):
    answer = turn(*made) if made else {"role": "assistant", "content": "Hello."}
    return {"id": "r", "messages": [{"role": "user", "content": asked}, answer], "tools": [WEATHER]}


class Tokenizer:
    """A template alone: what the reading of a form needs."""

    def __init__(self, template):
        self.chat_template = template
        self.special_tokens_map = {"bos_token": "<s>", "eos_token": "</s>"}
        self.all_special_tokens = ["<s>", "</s>", "<|im_end|>", "<|eot_id|>", "<|call|>", "<|return|>"]


# --- accents, fences, thoughts --------------------------------------------------------------------------------------

COMPOSED = "Le café de l'été à Ābo 각"
APART = unicodedata.normalize("NFD", COMPOSED)


@pytest.mark.parametrize("name", ["exact", "normalised"])
def test_accents_in_two_parts_are_the_same_answer(name):
    [score] = load_scores([name])
    assert COMPOSED != APART
    for answer, truth in ((COMPOSED, APART), (APART, COMPOSED)):
        assert score.compute(answer, truth, {})
        for spelled in (True, False):  # also as escapes, which are no accents before they are parsed
            held, wanted = (json.dumps({text: [text]}, ensure_ascii=spelled) for text in (answer, truth))
            assert score.compute(held, wanted, {}) or name == "normalised"
    assert not score.compute("cafe", "café", {}), "an accent is not nothing"


@pytest.mark.parametrize(
    ("text", "wanted", "thought", "changes"),
    [
        ("plain", "plain", "", ()),
        ("  plain ", "plain", "", ()),
        ("<think>\nhm, 4?\n</think>\n\n42", "42", "hm, 4?", ("thought",)),
        ("<think>\n\n</think>\n\n42", "42", "", ("thought",)),
        ("<think>and so on", "", "and so on", ("open_thought",)),
        ('```json\n{"a": 1}\n```', '{"a": 1}', "", ("fence",)),
        ("~~~\nx\n\ny\n~~~", "x\n\ny", "", ("fence",)),
        ('<think>a</think>```\n{"a": "e\u0301"}\n```', '{"a": "\u00e9"}', "a", ("thought", "fence", "unicode")),
        ('```json {"a":1}```', '{"a":1}', "", ("fence",)),
        ('```{"a": 1}```', '{"a": 1}', "", ("fence",)),
        ("```json\t[1]  ```", "[1]", "", ("fence",)),
        ("```Hello world ```", "Hello world", "", ("fence",)),
        ("```json files```", "json files", "", ("fence",)),
        ("~~~ x ~~~", "x", "", ("fence",)),
        ("```x``` and ```y```", "```x``` and ```y```", "", ()),
        ("``````", "``````", "", ()),
        ("See:\n```\nx\n```", "See:\n```\nx\n```", "", ()),
        ("```\nx\n```\nand\n```\ny\n```", "```\nx\n```\nand\n```\ny\n```", "", ()),
        ("```python\nnever closed", "```python\nnever closed", "", ()),
        ("The tag <think> opens.", "The tag <think> opens.", "", ()),
        ("<thinking>hm</thinking>42", "42", "hm", ("thought",)),
        ("<THINK>hm</THINK>\n42", "42", "hm", ("thought",)),
        ("[THINK]hm[/THINK]42", "42", "hm", ("thought",)),
        ("<thought>hm</thought>42", "42", "hm", ("thought",)),
        ("<thought>and so on", "", "and so on", ("open_thought",)),
        ("<think><think>hm</think>42", "42", "hm", ("thought",)),
        ("<think>\n<think>\nhm</think>\n</think>\n42", "42", "hm", ("thought",)),
        ("<think>a <think>b</think> c</think>42", "42", "a <think>b</think> c", ("thought",)),
    ],
)
def test_what_is_cleaned(text, wanted, thought, changes):
    answer = clean(text)
    assert (answer.text, answer.thought, answer.changes) == (wanted, thought, changes)
    assert clean(answer.text).text == answer.text, "cleaned twice is cleaned once"


def test_a_thought_that_the_prompt_opened():
    marks = AnswerMarks(special_tokens=("<|im_end|>",))

    def read(raw, prompt="<|assistant|><think>\n"):
        return clean_raw(raw, raw.removesuffix("<|im_end|>"), prompt, marks)

    assert read("hm</think>42<|im_end|>").text == "42" and read("hm</think>42<|im_end|>").thought == "hm"
    assert read("hm, and").changes == ("open_thought",), "cut at its greatest length within the thought"
    assert read("42<|im_end|>").text == "42", "it ended its turn without a thought"
    assert read("a</think>b<|im_end|>", prompt="<|assistant|>").text == "a</think>b"
    assert read("<think>hm</think>42<|im_end|>").text == "42", "the tag was written twice"
    assert read("<think>hm<|im_end|>").changes == ("open_thought",)
    assert read("hm</thinking>42<|im_end|>", prompt="<|assistant|><thinking>").text == "42"


CHANNELS = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% if m.reasoning_content %}<|start|>assistant<|channel|>"
    "analysis<|message|>{{ m.reasoning_content }}<|end|>{% endif %}<|start|>assistant<|channel|>final<|message|>"
    "{{ m.content }}<|return|>{% else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)


def test_the_marks_of_a_thought_are_read_off_the_template():
    marks = find_answer_marks(Tokenizer(CHANNELS))
    assert marks.thoughts[0] == ThoughtMarks(
        "<|channel|>analysis<|message|>", "<|end|>", "<|start|>assistant<|channel|>final<|message|>"
    )
    raw = "<|channel|>analysis<|message|>two plus two<|end|><|start|>assistant<|channel|>final<|message|>4<|return|>"
    answer = clean_raw(raw, "analysistwo plus twoassistantfinal4", "", marks)
    assert (answer.text, answer.thought, answer.changes) == ("4", "two plus two", ("thought",))
    answer = clean_raw("<|channel|>final<|message|>4<|return|>", "final4", "", marks)
    assert (answer.text, answer.changes) == ("4", ()), "what the template writes before an answer is none of it"
    assert find_answer_marks(Tokenizer(None)).calls is None, "no template, no call"


# --- the form of calls ----------------------------------------------------------------------------------------------

USER = "{% for m in messages %}{% if m.role != 'assistant' %}<|{{ m.role }}|>{{ m.content }}{% else %}<|assistant|>"
END = "{{ m.content }}<|im_end|>{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
EACH = "{% for c in m.tool_calls or [] %}{% set f = c.function %}"
FORMS = {
    "hermes": EACH + '<tool_call>\n{"name": "{{ f.name }}", "arguments": {{ f.arguments | tojson }}}\n</tool_call>\n'
    "{% endfor %}",
    "llama": EACH + '{"name": "{{ f.name }}", "parameters": {{ f.arguments | tojson }}}<|eot_id|>{% endfor %}',
    "mistral": "{% if m.tool_calls %}[TOOL_CALLS] [" + EACH + '{"name": "{{ f.name }}", "arguments": '
    '{{ f.arguments | tojson }}, "id": "{{ c.id }}"}{{ ", " if not loop.last }}{% endfor %}]{% endif %}',
    "name first": EACH + "[TOOL_CALLS]{{ f.name }}[ARGS]{{ f.arguments | tojson }}{% endfor %}",
    "tags": EACH + "<tool_call>\n<function={{ f.name }}>\n{% for k, v in f.arguments.items() %}<parameter={{ k }}>\n"
    "{{ v if v is string else v | tojson }}\n</parameter>\n{% endfor %}</function>\n</tool_call>{% endfor %}",
    "python": "{% if m.tool_calls %}<|tool_call_start|>[" + EACH + "{{ f.name }}({% for k, v in f.arguments.items() %}"
    "{{ k }}={{ \"'\" ~ v ~ \"'\" if v is string else v | tojson }}{{ ', ' if not loop.last }}{% endfor %})"
    "{{ ', ' if not loop.last }}{% endfor %}]<|tool_call_end|>{% endif %}",
}
CALLS = [
    [call(city="Saint-Étienne", days=3)],
    [call(days=-2, city='a "quoted" <b> [c]')],
    [call("now")],
    [call("f", flag=True, tags=["a", "b"], x=1.5)],
    [call("f", deep={"k": [1, {"z": "w"}]}, n=1)],
    [call(city="7"), call("now")],
]


def written(template, made):
    """What the template writes for these calls after the prompt."""
    user = {"role": "user", "content": "Hm?"}
    prompt, whole = apply_template(
        Tokenizer(template), [Conversation([user], True), Conversation([user, turn(*made)], tools=[WEATHER])]
    )
    assert whole.startswith(prompt)
    return whole[len(prompt) :]


@pytest.mark.parametrize("name", FORMS)
def test_calls_are_parsed_in_the_form_that_the_template_writes(name):
    template = USER + FORMS[name] + END
    marks = find_answer_marks(Tokenizer(template))
    for made in CALLS[: 5 if name == "llama" else None]:  # Llama writes one call
        raw = written(template, made)
        answer = clean_raw(raw, raw, "", marks, [WEATHER])
        assert answer.calls == made, raw
        if name != "llama":
            assert clean_raw(f"I look.\n{raw}", "", "", marks, [WEATHER]).calls == made
            assert clean_raw(f"<think>or?</think>{raw}", "", "", marks, [WEATHER]).calls == made


@pytest.mark.parametrize("name", FORMS)
def test_what_is_no_call_in_that_form(name):
    template = USER + FORMS[name] + END
    marks = find_answer_marks(Tokenizer(template))
    raw = written(template, CALLS[0])
    for place in range(raw.index("Lyon" if "Lyon" in raw else "Saint")):  # cut before its first argument ends
        cut = clean_raw(raw[:place], raw[:place], "", marks, [WEATHER])
        assert cut.calls == []
        if marks.calls.lead and place > len(marks.calls.lead) + 2:
            assert cut.unreadable_calls == 1
    for text in ("", "Hello.", "get_weather", '{"city": "Lyon"}', "[1, 2]", "<think>" + raw, '{"name": "x"}'):
        assert clean_raw(text, text, "", marks, [WEATHER]).calls == []


def judge_raw(template, raw, *due):
    """The five scores of a raw answer."""
    answer = clean_raw(raw, raw, "", find_answer_marks(Tokenizer(template)), [WEATHER])
    return judged([*answer.calls, *[None] * answer.unreadable_calls], *due)


@pytest.mark.parametrize("name", FORMS)
def test_a_call_that_cannot_be_parsed_is_never_right(name):
    template, lyon = USER + FORMS[name] + END, call(city="Lyon")
    whole = written(template, [lyon]).removesuffix("<|im_end|>").removesuffix("<|eot_id|>")
    cut = whole[: whole.index("Lyon")]
    alone = {"tool_call": False, "over_calling": True, "call_name": None, "call_arguments": None}
    assert judge_raw(template, cut) == {**alone, "under_calling": None}
    wrong = {"tool_call": False, "call_name": False, "call_arguments": False, "over_calling": None}
    assert judge_raw(template, cut, lyon) == {**wrong, "under_calling": True}
    if name != "llama":  # there a call is the whole answer
        for beside in (f"{whole}\n{cut}", f"{cut}\n{whole}"):
            assert judge_raw(template, beside, lyon) == {**wrong, "under_calling": False}, beside
    for text in ("Hello.", '{"name": "Bob"}', "[1, 2]"):
        assert judge_raw(template, text)["tool_call"], "no call was begun"
    told = written(template, [call(city=whole)]).removesuffix("<|im_end|>").removesuffix("<|eot_id|>")
    if name in ("hermes", "llama", "mistral", "name first"):  # a call as an argument, in JSON
        assert judge_raw(template, told, call(city=whole)) == judge_raw(template, whole, lyon)


def test_what_the_text_of_an_answer_with_an_unreadable_call_is():
    raw = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>\n<tool_call>\n{"name": '
    answer = clean_raw(raw, raw, "", find_answer_marks(Tokenizer(USER + FORMS["hermes"] + END)))
    assert (answer.text, answer.calls, answer.unreadable_calls) == (raw, [call("now")], 1)


def test_a_template_without_calls_has_no_form(tokenizer):
    assert find_call_format(tokenizer) is None


# --- what is right --------------------------------------------------------------------------------------------------


def judged(made, *due):
    row = conversation(*due)
    return {name: load_scores([name])[0].compute(made, "", row) for name in NAMES}


NAMES = ("tool_call", "call_name", "call_arguments", "over_calling", "under_calling")


def test_the_five_scores_of_a_call():
    due = call(city="Lyon", days=2)
    right = dict(zip(NAMES, (True, True, True, None, False)))
    assert judged([call(days=2, city="Lyon")], due) == right
    assert judged([call(city="Lyon", days=2.0, units="metric")], due) == right, "a default stands in the schema"
    assert judged([call(city="Lyon", days="2")], due) == {**right, "tool_call": False, "call_arguments": False}
    assert judged([call("get_wind", city="Lyon", days=2)], due) == {**right, "tool_call": False, "call_name": False}
    assert judged([], due) == dict(zip(NAMES, (False, False, False, None, True)))
    assert judged([due, due], due) == {**right, "tool_call": False, "call_name": False, "call_arguments": False}
    assert judged([], *()) == dict(zip(NAMES, (True, None, None, False, None)))
    assert judged([due], *()) == dict(zip(NAMES, (False, None, None, True, None)))
    assert judged([call(city=APART)], call(city=COMPOSED, days=1)) == right
    assert judged([call("b"), call("a")], call("a"), call("b")) == right, "in any order"


@pytest.mark.parametrize("first, second", [(True, 1), (0, False), (None, 0), ("1", 1), ([1], 1), ({}, []), (None, "")])
def test_values_of_other_types_differ(first, second):
    assert not call_scores.is_same_value(first, second) and not call_scores.is_same_value(second, first)


# --- an evaluation --------------------------------------------------------------------------------------------------


@pytest.fixture
def caller(runs, tiny, tmp_path):
    """A run of the tiny model with a template that writes calls, and its data: calls and texts."""
    shutil.copytree(tiny, tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text(
        "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}{% for m in messages %}"
        "<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
        + FORMS["hermes"]
        + "{% endif %}{{ m.content }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    rows = []
    for split in ("train", "test"):
        for number, city in enumerate(("Lyon", "Paris", "Nice", "Brest")):
            asked = f"Weather in {city}{'?' if split == 'train' else ' now?'}"
            rows.append({**conversation(call(city=city), asked=asked), "id": f"{split}{number}", "split": split})
        rows.append({**conversation(asked=f"Hi{'!' * (split == 'test')}"), "id": f"{split}-hi", "split": split})
    rows[-1]["messages"][-1] = {"role": "assistant", "content": "Hello.", "reasoning": "A greeting, so I greet."}
    Dataset(rows).save(tmp_path / "data")
    shutil.copytree(runs / "changed" / "adapter", tmp_path / "run" / "adapter")
    Recipe(data=str(tmp_path / "data"), model=str(tmp_path / "model")).save(tmp_path / "run" / contracts.RECIPE)
    return tmp_path / "run"


def test_calls_are_judged_in_all_systems(caller, no_owner, tmp_path):
    results = etabli.evaluate(caller, max_new_tokens=8, scores=[*NAMES, "exact", "loss"], progress=lambda *_: None)
    by_name = {score["name"]: score for score in results["scores"] if score["slice"] == contracts.ALL}
    by_name = by_name or {score["name"]: score for score in results["scores"]}
    assert set(by_name) == {*NAMES, "exact", "loss"}
    assert by_name["tool_call"]["n"] == 5 and by_name["call_name"]["n"] == 4 and by_name["over_calling"]["n"] == 1
    wanted = {"tool_call": 1.0, "call_name": 1.0, "call_arguments": 1.0, "over_calling": 0.0, "under_calling": 0.0}
    for name, value in wanted.items():
        assert by_name[name]["arms"]["lookup"]["value"] == value, name
        assert set(by_name[name]["arms"]) == set(contracts.ARMS)
    assert by_name["under_calling"]["arms"]["tuned"]["value"] == 1, "a model that knows nothing calls nothing"
    assert by_name["under_calling"]["better"] == by_name["over_calling"]["better"] == "lower"
    assert all(results["rows"][0]["values"]["loss"][arm] > 0 for arm in ("base", "prompted", "tuned"))
    row = results["rows"][0]
    assert row["truth"] == row["answers"]["lookup"] == '{"arguments": {"city": "Lyon"}, "name": "get_weather"}'
    assert "get_weather" in row["rendered"]["base"], "the tools reach the model through its template"
    assert row["rendered"]["prompted"].count("<tool_call>") >= 4, "so do worked examples with their calls"
    assert "greet" not in json.dumps([row["truth"] for row in results["rows"]])
    log = rescore.read_results(caller)
    again, told = rescore.rescore_results(log)
    assert told["same"] and {*NAMES, "exact"} <= set(told["rescored"]), "calls are scored again from the log"
    assert storage.to_json(again) == storage.to_json(results)
    diffs = token_diff.measure(caller, of="lookup", save=False)
    tokens = {one["id"]: "".join(one["moves"]["tokens"]) for one in diffs["rows"]}
    assert tokens["test0"].startswith("<tool_call>") and tokens["test-hi"].startswith("Hello.")
    assert next(one for one in diffs["rows"] if one["id"] == "test0")["answer"] == row["truth"]


def test_calls_choose_their_own_scores(caller, no_owner):
    results = etabli.evaluate(caller, max_new_tokens=2, save=False, arms=["tuned", "lookup"], progress=lambda *_: None)
    assert [metric["name"] for metric in results["metrics"]] == [*NAMES, "exact"]
    old = copy.deepcopy(results)
    for row in old["rows"]:
        del row["calls"], row["thoughts"], row["unreadable_calls"]
    old["metrics"] = [metric for metric in old["metrics"] if metric["name"] == "exact"]
    more = rescore.add_scores(old, ["tool_call"])
    assert "older than the reading of tool calls" in more["rows"][0]["errors"]["tool_call"]["tuned"]


TOOL_TEMPLATE = "{% for t in tools or [] %}{{ t.function.name }}{% for k in t.function.parameters.properties %}{{ k }}"
TOOL_TEMPLATE += "{% endfor %}{% endfor %}" + USER + FORMS["hermes"] + END
TOOLS_WRITTEN = "{{ tools | tojson }}"
RAISE = "{% if tools %}{{ raise_exception('No tools here') }}{% endif %}"


@pytest.mark.parametrize(
    ("template", "tool", "words"),
    [
        (
            TOOL_TEMPLATE,
            WEATHER["function"],
            "no attribute 'function'.*Its tools are the cause.*Most templates want a tool",
        ),
        (TOOL_TEMPLATE, {"type": "function", "function": {"name": "now"}}, "no attribute 'parameters'.*are the cause"),
        (RAISE + TOOL_TEMPLATE, WEATHER, "No tools here.*Its tools are the cause.*--only"),
        (TOOL_TEMPLATE, {**WEATHER, "note": "</s><|im_end|>"}, "control token.*Its tools are the cause"),
    ],
)
def test_rows_that_the_template_refuses_are_named(caller, no_owner, tmp_path, template, tool, words):
    """Rows of instruction and output, with tools beside them."""
    (tmp_path / "model" / "chat_template.jinja").write_text(template)
    rows = [{"instruction": f"Hm? {number}", "output": "Hello.", "tools": [tool]} for number in range(2)]
    rows.append({"instruction": "Without?", "output": "Yes."})
    (tmp_path / "asked.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with pytest.raises(BadData, match=f"2 of 3 test rows can't be evaluated with this model, first [0-9a-f]+.*{words}"):
        etabli.evaluate(caller, tmp_path / "asked.jsonl", arms=["tuned"], save=False, progress=lambda *_: None)


@pytest.mark.parametrize("is_marked", [True, False])
def test_calls_that_are_written_as_text_are_counted(caller, no_owner, tmp_path, is_marked):
    text = json.dumps(call(city="Lyon"))
    answers = [f"<tool_call>\n{text}\n</tool_call>" if is_marked else text, json.dumps({"city": "Lyon"}), "Hello."]
    rows = [{"instruction": f"{answer} Hm?", "output": answer, "tools": json.dumps([WEATHER])} for answer in answers]
    (tmp_path / "asked.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    results = etabli.evaluate(
        caller, tmp_path / "asked.jsonl", arms=["tuned"], max_new_tokens=2, save=False, progress=lambda *_: None
    )
    assert "1 of 3 test rows have an answer that is a tool call written as text" in " ".join(results["warnings"])


def test_calls_of_a_template_that_writes_none_are_said_to_be_unjudged(caller, no_owner, tmp_path):
    sentence = "4 of 5 test rows have a tool call as their answer, and the calls that this model's chat template"

    def list_warnings():
        results = etabli.evaluate(
            caller, arms=["tuned"], scores=["tool_call"], max_new_tokens=2, save=False, progress=lambda *_: None
        )
        return " ".join(results["warnings"])

    assert sentence not in list_warnings()
    (tmp_path / "model" / "chat_template.jinja").write_text(TOOLS_WRITTEN + USER + END)
    assert sentence in list_warnings()


def test_what_was_cleaned_is_counted_and_shown(runs, no_owner, tmp_path):
    """lookup answers with training rows: a fence, a thought and parted accents are cleaned in it as in the truth."""
    answers = ['```json\n{"a": 1}\n```', "<think>so</think>yes", APART, "plain"]
    rows = [
        {
            "id": f"{split}{number}",
            "split": split,
            "messages": [
                {"role": "user", "content": f"Question number {number}" + "?" * (split == "test")},
                {"role": "assistant", "content": clean(text).text if split == "test" else text},
            ],
        }
        for split in ("train", "test")
        for number, text in enumerate(answers)
    ]
    Dataset(rows).save(tmp_path / "data")
    shutil.copytree(runs / "changed" / "adapter", tmp_path / "run" / "adapter")
    recipe = Recipe.load(runs / "changed" / contracts.RECIPE)
    recipe.model_copy(update={"data": str(tmp_path / "data")}).save(tmp_path / "run" / contracts.RECIPE)
    results = etabli.evaluate(
        tmp_path / "run", arms=["lookup", "tuned"], scores=["exact"], max_new_tokens=2, progress=lambda *_: None
    )
    assert [row["values"]["exact"]["lookup"] for row in results["rows"]] == [True] * 4
    assert results["cleaned"]["lookup"] == {"unicode": 1, "thought": 1, "open_thought": 0, "fence": 1}
    assert sum(results["cleaned"]["truth"].values()) == 0
    assert [row["raw"]["lookup"] for row in results["rows"]] == answers, "what was answered is kept as it was"
    assert [row["thoughts"] for row in results["rows"]] == [{}, {"lookup": "so"}, {}, {}]
    sentence = "this changed rows of lookup (accents in two parts 1, thoughts 1, code fences 1)"
    assert sentence in table.format_results(results)
    assert any(sentence in text for text in card.view(results)["warnings"])
    assert "clean_answer" in dict(card.facts(results))["cleaning"]
    del results["cleaned"]
    assert rescore.rescore_results(results)[1]["same"] and sentence not in table.format_results(results)


# --- every family whose template comes in a package -----------------------------------------------------------------


@pytest.mark.slow
def test_an_answer_without_a_call_begins_none_in_any_family():
    """The calls of each template are in test_written_calls."""
    import families

    try:
        templates = families.templates()
    except OSError as error:
        pytest.skip(f"no package index answered: {error}")
    count = 0
    for name, template in templates.items():
        form = find_call_format(Tokenizer(template))
        if form is None:
            continue
        answer = {"role": "assistant", "content": "Hello."}
        [whole] = apply_template(Tokenizer(template), [Conversation([{"role": "user", "content": "Hm?"}, answer])])
        assert form.count_unreadable(re.split(r"Hm\?", whole)[-1]) == 0, (name, form.lead)
        count += 1
    assert count >= 25


@pytest.mark.nightly
@pytest.mark.parametrize("name", FORMS)
def test_real_calls_come_back_in_every_form(name, tmp_path):
    """Every call of LLaMA-Factory's tool-call samples, English and Chinese, as each form writes it."""
    import subprocess
    import tarfile

    from etabli.data.reading.source import read

    asked = ["--no-deps", "--no-binary", ":all:", "llamafactory==0.9.5", "--dest", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "pip", "download", "-q", *asked], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no package index answered: {done.stderr[-200:]}")
    count = 0
    for language in ("en", "zh"):
        with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
            source = archive.extractfile(f"llamafactory-0.9.5/data/glaive_toolcall_{language}_demo.json")
            (tmp_path / "sample.json").write_bytes(source.read())
        count += real_calls_that_come_back(USER + FORMS[name] + END, read(tmp_path / "sample.json"), name == "llama")
    assert count > 400


def real_calls_that_come_back(template, rows, single):
    form = find_call_format(Tokenizer(template))
    count = 0
    for row in rows:
        for message in row["messages"]:
            due = [one["function"] for one in message.get("tool_calls", [])]
            if due and not (single and len(due) > 1):
                raw = written(template, due).removesuffix("<|im_end|>").removesuffix("<|eot_id|>")
                made = form.parse(raw, row.get("tools"))
                assert len(made) == len(due), raw
                assert all(call_scores.is_same_call(*pair, row) for pair in zip(made, due)), raw
                count += len(due)
    return count

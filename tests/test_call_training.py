"""A tool call in a row is trained as it is where the conversation ends with it, up to a token that stops generation."""

import copy
from dataclasses import replace
from functools import cache

import pytest

import families
import vocabularies
from etabli.core.errors import BadData, BadInput
from etabli.rendering.render import Renderer
from etabli.rendering.token_checks import check_row

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def call(city="Lyon", **fields):
    function = {"name": "weather", "arguments": {"city": city}}
    calls = [{"id": "abcdefghi", "type": "function", "function": function}]
    return {"role": "assistant", "content": "", "tool_calls": calls, **fields}


def user(text):
    return {"role": "user", "content": text}


def answer(text, **fields):
    return {"role": "assistant", "content": text, **fields}


RESULT = {"role": "tool", "tool_call_id": "abcdefghi", "name": "weather", "content": "sunny"}
LAST = [user("Weather?"), call()]
ANSWERED = [*LAST, RESULT, answer("It is warm.")]
EARLIER = [*ANSWERED, user("Thanks"), answer("You are welcome.")]


@cache
def renderer(name):
    return Renderer(families.lend(families.template_text(name)))


def trained_text(messages, renderer, number, policy="answers"):
    tokens = renderer.render(messages, policy, tools=[TOOL])
    places = zip(tokens.text, tokens.trained, tokens.message)
    return "".join(text for text, is_trained, owner in places if is_trained and owner == number)


def failures(messages, renderer, policy="answers", tokens=None):
    tokens = tokens or renderer.render(messages, policy, tools=[TOOL])
    row = {"id": "r", "messages": messages, "tools": [TOOL]}
    return {check.name: check.why for check in check_row(row, tokens, renderer, policy, 4096) if check.ok is False}


def knows_calls(name):
    try:
        return bool(renderer(name).render(EARLIER, tools=[TOOL]))
    except (BadData, BadInput):
        return False


def test_a_call_before_a_later_question_is_trained_as_at_the_end_in_every_family():
    names = [name for name in families.template_files() if knows_calls(name)]
    assert len(names) > 30 and {"qwen3_5_think", "qwen3_6"} < {*names}
    for name in names:
        at_the_end = trained_text(LAST, renderer(name), 1)
        assert trained_text(EARLIER, renderer(name), 1) == at_the_end and "Lyon" in at_the_end, name
        first_answer = trained_text(EARLIER, renderer(name), 3)
        assert "It is warm." in first_answer and "assistant" not in first_answer, name


@pytest.mark.parametrize("name", ["qwen3_6", "qwen3_5_think"])
def test_a_call_whose_thought_is_dropped_is_trained_without_it(name):
    thought = call(reasoning="I need the weather.")
    messages = [user("Weather?"), thought, *EARLIER[2:]]
    assert trained_text(messages, renderer(name), 1) == trained_text(LAST, renderer(name), 1)
    tokens = renderer(name).render(messages, tools=[TOOL])
    assert tokens.dropped_thoughts == (1,) and "whole-answer" not in failures(messages, renderer(name))


@pytest.mark.parametrize("word", ["weather", "city", "Lyon"])
def test_a_word_of_a_call_that_is_not_trained_is_refused(word):
    tokens = renderer("qwen3_6").render(EARLIER, tools=[TOOL])
    assert not failures(EARLIER, renderer("qwen3_6"))
    own = [number for number, owner in enumerate(tokens.message) if owner == 1]
    begin = "".join(tokens.text[number] for number in own).index(word) + tokens.offset[own[0]][0]
    place = next(number for number in own if tokens.offset[number][1] > begin)
    hidden = replace(tokens, trained=[flag and number != place for number, flag in enumerate(tokens.trained)])
    assert "whole-answer" in failures(EARLIER, renderer("qwen3_6"), tokens=hidden)


def test_the_same_call_twice_is_trained_twice():
    twice = [user("Weather?"), {**call(), "tool_calls": call()["tool_calls"] * 2}]
    tokens = renderer("qwen3_6").render(twice, tools=[TOOL])
    places = [number for number, text in enumerate(tokens.text) if "yon" in text]
    hidden = replace(tokens, trained=[flag and number != places[-1] for number, flag in enumerate(tokens.trained)])
    assert not failures(twice, renderer("qwen3_6")) and "whole-answer" in failures(
        twice, renderer("qwen3_6"), tokens=hidden
    )


@pytest.mark.parametrize("messages", [LAST, ANSWERED, EARLIER])
def test_a_turn_of_calls_without_an_end_that_stops_is_refused(messages):
    """DeepSeek V3's own template ends a turn of two calls, and not one of a single call."""
    own = Renderer(vocabularies.tokenizer("deepseek_v3"))
    assert "generation does not stop there" in failures(messages, own)["end-of-turn"]
    two = copy.deepcopy(messages)
    two[1]["tool_calls"] += call("Rome")["tool_calls"]
    assert "end-of-turn" not in failures(two, own)


@pytest.mark.parametrize("name", ["gemma4", "gemma4_v5", "diffusion_gemma"])
@pytest.mark.parametrize("messages", [LAST, ANSWERED, EARLIER])
def test_a_call_is_trained_up_to_what_the_model_has_to_write(name, messages):
    """Gemma 4 writes ``<|tool_response>`` after a call: that is not the model's."""
    assert not failures(messages, renderer(name))
    text = trained_text(messages, renderer(name), 1)
    assert text.startswith("<|tool_call>") and text.endswith("<tool_call|>")


@pytest.mark.parametrize("policy", ["answers", "answers_and_reasoning"])
@pytest.mark.parametrize("fields", [{}, {"reasoning": "Sun means warm."}])
def test_the_thought_of_a_call_that_the_template_drops_once_it_is_answered_is_counted(policy, fields):
    """GPT-OSS writes a call's thought until the final answer stands there."""
    messages = [user("Weather?"), call(reasoning="I need it."), RESULT, answer("It is warm.", **fields)]
    tokens = renderer("gptoss").render(messages, policy, tools=[TOOL])
    assert tokens.dropped_thoughts == (1,) and not failures(messages, renderer("gptoss"), policy)
    assert trained_text(messages, renderer("gptoss"), 1) == trained_text(LAST, renderer("gptoss"), 1)
    assert trained_text(messages, renderer("gptoss"), 3).endswith("<|message|>It is warm.<|return|>")


@pytest.mark.parametrize("mark", [{"train": True}, {"train_spans": [[0, 4]]}])
def test_the_text_of_a_user_is_trained_where_the_row_marks_it_and_refused_elsewhere(mark):
    messages = [{**user("Weather?"), **mark}, answer("Warm."), user("Thanks"), answer("Welcome.")]
    tokens = renderer("qwen3_6").render(messages, tools=[TOOL])
    assert not failures(messages, renderer("qwen3_6"), tokens=tokens)
    assert trained_text(messages, renderer("qwen3_6"), 0).startswith("We")
    thanks = [flag or owner == 2 for flag, owner in zip(tokens.trained, tokens.message)]
    assert "user-not-trained" in failures(messages, renderer("qwen3_6"), tokens=replace(tokens, trained=thanks))

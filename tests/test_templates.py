"""Real vocabularies and published templates: transformers' ids, transformers' masks but for what is said in the docs.

The table in ``docs/templates.md`` is written by ``benchmarks/templates.py``; here it is compared with what comes out.
"""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import templates

from etabli.rendering.render import Renderer

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "docs" / "templates.md").read_text().splitlines()
TABLE = {line.split(" | ")[0].removeprefix("| "): line for line in LINES if re.match(r"\| [a-z]", line)}
TABLE.pop("template")
REAL = [name for name, line in TABLE.items() if " | real | " in line]


def load(name):
    try:
        return templates.load(name)
    except OSError as error:
        pytest.skip(f"no registry answered: {error}")


def check(name):
    result = templates.compare(name, *load(name))
    assert all(result.same_ids.values()), result
    assert {kind for kind, _ in result.differences} <= set(templates.REASONS), result
    assert templates.table_row(result) == TABLE[name]


@pytest.mark.parametrize("name", REAL)
def test_real_vocabularies_give_the_ids_and_masks_that_the_table_says(name):
    check(name)


@pytest.mark.nightly
@pytest.mark.parametrize("name", [name for name in TABLE if name not in REAL])
def test_other_templates_do_too(name):
    check(name)


@pytest.mark.nightly
def test_the_table_has_every_template():
    load("qwen3")
    assert list(TABLE) == [name for name, _, _ in templates.templates()]


@pytest.mark.parametrize("name", ["llama2 (own)", "mistral v1 (own)", "mistral v3 (own)", "mistral tekken (own)"])
@pytest.mark.parametrize("answer", ["It is there.", '{"place": "harbour"}', " [1, 2] ", "é"])
def test_the_first_token_of_an_answer_is_trained(name, answer):
    """With SentencePiece the template's blank and the answer's first letters are one token."""
    renderer = Renderer(load(name)[0])
    rendered = renderer.render([{"role": "user", "content": "Where?"}, {"role": "assistant", "content": answer}])
    ids = [token for token, flag in zip(rendered.ids, rendered.trained) if flag]
    assert renderer.tokenizer.decode(ids, skip_special_tokens=True).strip() == answer.strip()
    prompt = renderer.render([{"role": "user", "content": "Where?"}], prompt=True)
    assert rendered.ids[: len(prompt)] == prompt.ids and rendered.trained.index(True) == len(prompt)


# What is trained of an answered tool call, and of a thought: written down from each format's description.
CALLED = {
    "qwen3": '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": "é"}}\n</tool_call><|im_end|>It is 3.<|im_end|>',
    "deepseek_v3 (own)": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n"
    '{"a": 1, "b": "é"}\n```<｜tool▁call▁end｜>It is 3.<｜end▁of▁sentence｜>',
    "gptoss": ' to=functions.add<|channel|>commentary json<|message|>{"a": 1, "b": "é"}<|call|>'
    "<|channel|>final<|message|>It is 3.<|return|>",
    "gemma4_v5": '<|tool_call>call:add{a:1,b:<|"|>é<|"|>}<tool_call|>It is 3.<turn|>',
    "llama3_1": '{"name": "add", "parameters": {"a": 1, "b": "é"}}<|eot_id|>It is 3.<|eot_id|>',
}
THOUGHT = {
    "qwen3": "<think>\nThe harbour is north.\n</think>\n\nYes.<|im_end|>",
    "gptoss": "<|channel|>analysis<|message|>The harbour is north.<|end|><|start|>assistant<|channel|>final<|message|>"
    "Yes.<|return|>",
    "llama3_1": "<think>\nThe harbour is north.\n</think>\n\nYes.<|eot_id|>",
    # Its prompt opens the thought.
    "deepseek_r1_distill_training": "The harbour is north.\n</think>\n\nYes.<｜end▁of▁sentence｜>",
}
ENDED = {
    "cohere2": "North.<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",
    "gptoss": "<|channel|>final<|message|>North.<|return|>",
}


def trained(name, messages, tools=None):
    rendered = Renderer(load(name)[0]).render(messages, "answers_and_reasoning", tools=tools)
    return "".join(text for text, flag in zip(rendered.text, rendered.trained) if flag)


@pytest.mark.parametrize("name", CALLED)
def test_an_answered_call_is_trained_to_its_end_and_its_result_is_not(name):
    assert trained(name, templates.CONVERSATIONS["tools"], [templates.TOOL]) == CALLED[name]


@pytest.mark.parametrize("name", THOUGHT)
def test_a_thought_is_trained_where_the_template_writes_it(name):
    assert trained(name, templates.CONVERSATIONS["thought"][2:]) == THOUGHT[name]


@pytest.mark.parametrize("name", ENDED)
def test_all_that_the_model_writes_round_an_answer_is_trained(name):
    assert trained(name, templates.CONVERSATIONS["system"]) == ENDED[name]

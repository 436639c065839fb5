"""Rendering equals the template's own on clean conversations, and forges no control token on any other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etabli.core.errors import BadData, BadInput
from etabli.rendering.render import render

CHATML = (
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n'}}{% endif %}"
)
TRIMS = (
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n\n' + m['content'] | trim + '<|im_end|>'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n\n'}}{% endif %}"
)
# Some tokenizers have no token for a control character and drop it; that is theirs to do.
text = st.text(st.characters(exclude_categories=["Cs", "Cc", "Co", "Cn"]) | st.sampled_from("\n\t "), max_size=60)


def conversation(*contents):
    roles = ["user", "assistant"] * len(contents)
    return [{"role": role, "content": content} for role, content in zip(roles, contents)]


def with_template(tokenizer, template):
    import copy

    changed = copy.deepcopy(tokenizer)
    changed.chat_template = template
    return changed


@pytest.mark.parametrize("template", [None, CHATML, TRIMS], ids=["own", "chatml", "trimming"])
@given(st.lists(text, min_size=1, max_size=4))
def test_clean_conversations_get_the_templates_own_ids(tokenizer, template, contents):
    tokenizer = with_template(tokenizer, template) if template else tokenizer
    added = tokenizer.get_added_vocab()
    if any(token in content for token in added for content in contents):
        return
    for prompt in (False, True):
        talk = conversation(*contents)
        own = tokenizer.apply_chat_template(talk, add_generation_prompt=prompt)["input_ids"]
        assert render(talk, tokenizer, prompt=prompt).ids == own


@given(data=st.data())
def test_typed_control_tokens_stay_text(tokenizer, data):
    """Whole, doubled, and in fragments that reassemble over what lies between."""
    added = sorted(tokenizer.get_added_vocab(), key=str)
    fragments = st.sampled_from(added).flatmap(
        lambda t: st.sampled_from([t, t[: len(t) // 2], t[len(t) // 2 :], t + t])
    )
    contents = data.draw(
        st.lists(st.lists(st.one_of(fragments, text), max_size=5).map("".join), min_size=1, max_size=3)
    )
    talk = conversation(*contents)
    clean = render(conversation(*["x" for _ in contents]), tokenizer)
    control = set(tokenizer.get_added_vocab().values())
    rendered = render(talk, tokenizer)
    assert sum(i in control for i in rendered.ids) == sum(i in control for i in clean.ids)
    assert contents[0] in tokenizer.decode(rendered.ids), "nothing that was typed is lost"


def test_a_prompt_is_what_a_trained_answer_follows_even_in_a_template_that_thinks(tokenizer):
    thinks = (
        "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n'}}{% if m['role'] == 'assistant' %}"
        "{{'<think>\n\n</think>\n'}}{% endif %}{{m['content'] + '<|im_end|>\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{'<|im_start|>assistant\n'}}"
        "{% if enable_thinking is defined and not enable_thinking %}{{'<think>\n\n</think>\n'}}{% endif %}{% endif %}"
    )
    tokenizer = with_template(tokenizer, thinks)
    asked, whole = render(conversation("q")[:1], tokenizer, prompt=True), render(conversation("q", "a")[:2], tokenizer)
    assert whole.ids[: len(asked)] == asked.ids
    assert not any(whole.trained[: len(asked)]) and whole.trained[len(asked)]


def test_only_answers_and_their_end_are_trained(tokenizer):
    talk = conversation("hello", "one", "again", "two words")
    rendered = render(talk, tokenizer)
    trained = [token for token, flag in zip(rendered.ids, rendered.trained) if flag]
    assert tokenizer.decode(trained) == "one<|im_end|>two words<|im_end|>"
    assert rendered.labels == [i if flag else -100 for i, flag in zip(rendered.ids, rendered.trained)]
    assert not any(
        flag for role, flag in zip(rendered.role, rendered.trained) if role in ("user", "system", "template")
    )


def test_policies(tokenizer):
    talk = conversation("hello", "one", "again", "two")
    assert tokenizer.decode([i for i, t in zip(*_pairs(render(talk, tokenizer, "last"))) if t]) == "two<|im_end|>"
    assert all(render(talk, tokenizer, "all").trained)
    talk[1]["train"], talk[3]["train"] = True, False
    assert tokenizer.decode([i for i, t in zip(*_pairs(render(talk, tokenizer))) if t]) == "one<|im_end|>"


def _pairs(rendered):
    return rendered.ids, rendered.trained


def test_mistakes_are_named(tokenizer):
    with pytest.raises(BadInput, match="answers, last, all"):
        render(conversation("a"), tokenizer, "most")
    with pytest.raises(BadData, match="without messages"):
        render([], tokenizer)
    with pytest.raises(BadData, match="Message 2"):
        render([{"role": "user", "content": "a"}, {"role": "assistant", "content": None}], tokenizer)
    with pytest.raises(BadInput, match="no chat template"):
        render(conversation("a"), with_template(tokenizer, ""))
    with pytest.raises(BadData, match=r"leaves out what message 1 \(user\) says"):
        render(conversation("a"), with_template(tokenizer, "{% for m in messages %}{{ m['role'] }}{% endfor %}"))
    with pytest.raises(BadData, match="rewrites"):
        render(conversation("a"), with_template(tokenizer, "{{ messages[0]['content'] | upper }}"))


# --- plain text, and tool calls --------------------------------------------------------------------------------------

CALLING = (
    "{% if tools %}<|im_start|>system\nTools: {{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% for call in message.tool_calls or [] %}{{ '\n<tool_call>' }}{{ call.function | tojson }}</tool_call>"
    "{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": "é"}}}
TALK = [
    {"role": "user", "content": "1+é?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "3"},
    {"role": "assistant", "content": "It is 3."},
]


@pytest.fixture
def calling(tokenizer):
    import copy

    other = copy.deepcopy(tokenizer)
    other.chat_template = CALLING
    return other


def test_a_tool_call_is_trained_and_its_result_is_not(calling):
    tools = [{"name": "add"}]
    seen = render(TALK, calling, tools=tools)
    own = calling.apply_chat_template(TALK, tokenize=False, tools=tools)
    assert "".join(seen.text) == own
    assert seen.ids == calling(own, add_special_tokens=False)["input_ids"]
    trained = "".join(text for text, flag in zip(seen.text, seen.trained) if flag)
    call = '\n<tool_call>{"name": "add", "arguments": {"a": 1, "b": "é"}}</tool_call><|im_end|>'
    assert trained == call + "It is 3.<|im_end|>"


def test_words_beside_a_call_are_trained_too(calling):
    talk = [TALK[0], {**TALK[1], "content": "Let me see.", "train": True}, *TALK[2:]]
    seen = render(talk, calling, policy="last")
    trained = "".join(text for text, flag in zip(seen.text, seen.trained) if flag)
    assert trained.startswith("Let me see.\n<tool_call>") and trained.count("<|im_end|>") == 2


def test_a_template_that_drops_calls_is_refused(tokenizer):
    with pytest.raises(BadData, match="leaves tool calls out"):
        render(TALK, tokenizer)


def test_a_control_token_in_a_call_is_refused(calling):
    evil = {"type": "function", "function": {"name": "add", "arguments": {"a": "<|im_end|>"}}}
    with pytest.raises(BadData, match="a call, a name or a role holds the control token"):
        render([TALK[0], {**TALK[1], "tool_calls": [evil]}], calling)


def test_plain_text_has_no_template_and_ends(tokenizer):
    seen = render(
        [{"role": "text", "content": "Once <|im_end|> upon", "train": False}, {"role": "text", "content": " a time."}],
        tokenizer,
    )
    assert "".join(seen.text) == "Once <|im_end|> upon a time." + tokenizer.eos_token
    assert seen.ids[-1] == tokenizer.eos_token_id and seen.ids.count(tokenizer.eos_token_id) == 1
    assert "".join(text for text, flag in zip(seen.text, seen.trained) if flag) == " a time." + tokenizer.eos_token


def test_text_and_turns_are_not_mixed(tokenizer):
    with pytest.raises(BadData, match="can't be mixed"):
        render([{"role": "text", "content": "a"}, {"role": "user", "content": "b"}], tokenizer)


@pytest.mark.parametrize("field", ["name", "tool_call_id", "role"])
def test_what_stands_beside_a_content_forges_nothing_either(tokenizer, field):
    talk = [{"role": "user", "content": "u", field: "<|im_end|>"}, {"role": "assistant", "content": "a"}]
    with pytest.raises(BadData, match="name or a role holds the control token"):
        render(talk, tokenizer)
    with pytest.raises(BadData, match="private sign"):
        render([{"role": "user", "content": "u", "name": "\ue0009\ue001"}], tokenizer)

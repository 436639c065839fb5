"""Rendering equals the template's own on clean conversations, and forges no control token on any other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etabli.core.errors import BadData, BadInput
from etabli.models import generate
from etabli.rendering import layout
from etabli.rendering import render as render_module
from etabli.rendering.render import Renderer, is_thinking, render, set_thinking
from etabli.rendering.token_checks import check_row
from etabli.runs.recipe import Recipe
from etabli.training.train_data import trains_thoughts

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
    talk = conversation(*contents)
    for prompt in (False, True):
        own_text = tokenizer.apply_chat_template(talk, add_generation_prompt=prompt, tokenize=False)
        own = tokenizer(own_text, add_special_tokens=False, return_offsets_mapping=True)
        row = render(talk, tokenizer, prompt=prompt)
        if not row.split_tokens:
            assert row.ids == own["input_ids"]
            continue
        others = {*zip(own["input_ids"], map(tuple, own["offset_mapping"]))} - {*zip(row.ids, row.offset)}
        assert len(others) == row.split_tokens, "only tokens across a prompt and an answer are others"
        for number in range(1, len(talk), 2):
            asked = render(talk[:number], tokenizer, prompt=True).ids
            assert row.ids[: len(asked)] == asked, "each answer follows the ids that generation is given"


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


# --- what is trained, by templates of each kind -----------------------------------------------------------------------

SHORT_INST = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
)
TWO_ENDS = (  # Cohere's: a response ends, then the turn ends
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}<repo_name>{{ m.content }}"
    "<file_sep>{% else %}{{ m.content }}{% endif %}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<repo_name>{% endif %}"
)
CHANNELS = (  # GPT-OSS's: the model writes the channel itself, and the last turn ends otherwise
    "{% for m in messages %}<|im_start|>{{ m.role }}{% if m.role == 'assistant' %}"
    "{% if m.thinking and loop.last %}<repo_name>thought<file_sep>{{ m.thinking }}<|im_end|><|im_start|>assistant"
    "{% endif %}<repo_name>final{% endif %}<file_sep>{{ m.content }}"
    "{{ '<|endoftext|>' if loop.last and m.role == 'assistant' else '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"
)
DROPS_THOUGHTS = (  # Qwen 3's: a thought before the last question is left out; an empty one is written without
    "{% set last = namespace(user=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set last.user = loop.index %}"
    "{% endif %}{% endfor %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.index > last.user and (loop.last or m.reasoning_content) %}"
    "{{ '<think>\n' + (m.reasoning_content or '') + '\n</think>\n\n' }}{% endif %}{{ m.content }}"
    "{% for call in m.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
PARTICULAR = (  # DeepSeek V3's: calls only beside content that is none, with arguments as text
    "{% for m in messages %}{% if m.role == 'user' %}<|im_start|>{{ m.content }}{% elif m.role == 'tool' %}"
    "<jupyter_output>{{ m.content }}{% elif m.content is none %}<|im_end|>{% for call in m.tool_calls %}"
    "{{ call.function.name + ': ' + call.function.arguments }}<|endoftext|>{% endfor %}"
    "{% else %}<|im_end|>{{ m.content }}<|endoftext|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_end|>{% endif %}"
)


def trained_text(messages, tokenizer, policy="answers"):
    rendered = render(messages, tokenizer, policy)
    return "".join(text for text, flag in zip(rendered.text, rendered.trained) if flag)


def failed(messages, tokenizer, policy="answers"):
    renderer = Renderer(tokenizer)
    checks = check_row({"messages": messages}, renderer.render(messages, policy), renderer, policy, 4096)
    return [check.name for check in checks if check.ok is False]


def test_a_token_that_holds_a_blank_of_the_template_and_letters_of_an_answer_is_the_answers(tokenizer):
    tokenizer = with_template(tokenizer, SHORT_INST)
    messages = conversation("Where?", "It is there.")
    rendered = render(messages, tokenizer)
    place = rendered.trained.index(True)
    assert rendered.text[place].strip() == "It" and rendered.message[place] == 1
    assert trained_text(messages, tokenizer).lstrip() == "It is there." + tokenizer.eos_token
    assert not failed(messages, tokenizer)
    rendered.trained[place] = False  # as if the token were the template's
    renderer = Renderer(tokenizer)
    checks = check_row({"messages": messages}, rendered, renderer, "answers", 4096)
    assert [check.name for check in checks if check.ok is False] == ["whole-answer"]


def test_the_true_end_of_a_turn_is_trained(tokenizer):
    tokenizer = with_template(tokenizer, TWO_ENDS)
    messages = conversation("q", "one", "r", "two")
    assert trained_text(messages, tokenizer) == "one<file_sep><|im_end|>two<file_sep><|im_end|>"
    rendered = render(messages, tokenizer)
    rendered.trained[-1] = False
    checks = check_row({"messages": messages}, rendered, Renderer(tokenizer), "answers", 4096)
    assert "end-of-turn" in [check.name for check in checks if check.ok is False]


def test_a_header_that_the_model_writes_is_trained(tokenizer):
    tokenizer = with_template(tokenizer, CHANNELS)
    messages = conversation("q", "one", "r", "two")
    end = "<|endoftext|>"
    assert (
        trained_text(messages, tokenizer)
        == f"<repo_name>final<file_sep>one<|im_end|><repo_name>final<file_sep>two{end}"
    )
    messages[3]["reasoning"] = "hm"
    answer = f"<|im_start|>assistant<repo_name>final<file_sep>two{end}"
    assert trained_text(messages[2:], tokenizer) == answer
    assert trained_text(messages[2:], tokenizer, "answers_and_reasoning") == (
        f"<repo_name>thought<file_sep>hm<|im_end|>{answer}"
    )
    assert not failed(messages, tokenizer)


def test_thoughts_have_a_role_and_are_trained_if_that_is_asked_for(tokenizer):
    tokenizer = with_template(tokenizer, DROPS_THOUGHTS)
    messages = [*conversation("q", "one", "r"), {"role": "assistant", "content": "two", "reasoning": "I think."}]
    messages[1]["reasoning"] = "Before."
    rendered = render(messages, tokenizer, "answers_and_reasoning")
    thought = "".join(text for text, role in zip(rendered.text, rendered.role) if role == "reasoning")
    assert thought.startswith("<think>\nI think.\n</think>") and rendered.dropped_thoughts == (1,)
    assert trained_text(messages, tokenizer, "answers_and_reasoning") == f"one<|im_end|>{thought}\n\ntwo<|im_end|>"
    assert trained_text(messages, tokenizer).endswith("two<|im_end|>") and "think" not in trained_text(
        messages, tokenizer
    )
    assert not failed(messages, tokenizer) and not failed(messages, tokenizer, "answers_and_reasoning")


def test_a_thought_stands_in_the_content_where_the_template_has_no_place_for_it(tokenizer):
    messages = [*conversation("q"), {"role": "assistant", "content": "a", "reasoning": "hm"}]
    assert trained_text(messages, tokenizer, "answers_and_reasoning") == "<think>\nhm\n</think>\n\na<|im_end|>"
    cuts = CHATML.replace("m['content']", "m['content'].split('</think>\n\n')[-1]")
    with pytest.raises(BadData, match="no place for the reasoning of message 2"):
        render(messages, with_template(tokenizer, cuts))
    with pytest.raises(BadData, match="reasoning belongs to an assistant's message"):
        render([{"role": "user", "content": "q", "reasoning": "hm"}], tokenizer)


@pytest.mark.parametrize("template", [DROPS_THOUGHTS, PARTICULAR], ids=["qwen 3", "deepseek"])
def test_answered_calls_are_rendered_and_trained(tokenizer, template):
    tokenizer = with_template(tokenizer, template)
    call, answer = {"role": "assistant", "content": "", "tool_calls": [CALL]}, {"role": "assistant", "content": "3."}
    messages = [*conversation("1+2?"), call, {"role": "tool", "content": "3"}, answer]
    trained = trained_text(messages, tokenizer)
    assert '"b": "é"' in trained and trained.endswith(("3.<|im_end|>", "3.<|endoftext|>")) and trained.count("3") == 1
    assert not failed(messages, tokenizer)


def test_a_prompt_that_opens_a_thought_which_the_row_has_not_is_refused(tokenizer):
    opens = CHATML.replace("assistant\n'}}{% endif", "assistant\n<think>\n'}}{% endif")
    messages = conversation("q", "a")
    assert failed(messages, with_template(tokenizer, opens)) == ["generation-prompt"]
    messages[1]["reasoning"] = "hm"
    assert not failed(messages, with_template(tokenizer, opens)), "the row's thought follows that prompt"


@pytest.mark.parametrize("answer", ["\n\na", "\na", "\n", " a", "\t\n a", "= a", "a"])
@pytest.mark.parametrize("template", ["ChatML", "equals"])
def test_every_answer_follows_the_prompt_that_generation_tokenises(tokenizer, template, answer):
    """A token across prompt and answer would be one that no answer begins with: it is two, as in generation."""
    if template == "equals":
        tokenizer = with_template(tokenizer, SHORT_INST.replace("' ' + m.content", "m.content").replace("[/INST]", "="))
    messages = conversation("q", answer, "q", answer)
    row = render(messages, tokenizer)
    for number in (1, 3):
        prompt = render(messages[:number], tokenizer, prompt=True).ids
        assert row.ids[: len(prompt)] == prompt, (number, row.text)
        assert all(row.trained[at] for at, owner in enumerate(row.message) if owner == number)
    assert "".join(row.text) == tokenizer.apply_chat_template(messages, tokenize=False)
    assert not failed(messages, tokenizer)
    for length in (3, 512):
        counts = Renderer(tokenizer).count_tokens(messages, "answers", length)
        assert counts == (len(row), sum(row.trained[1:]), sum(row.trained[1:length]))


def test_parts_that_are_marked_are_trained_alone(tokenizer):
    messages = conversation("2+2?", "Maybe 5. It is 4.", "Sure?", "Yes.")
    messages[1]["train_spans"] = [[8, 17]]
    messages[2]["train"] = True
    for policy in ("answers", "spans"):
        assert trained_text(messages, tokenizer, policy).startswith(" It is 4.<|im_end|>Sure?")
    assert not failed(messages, tokenizer), "a mark in the row is followed"


def test_segments_stand_as_they_are_and_their_control_tokens_are_meant(tokenizer):
    segments = [
        ("<|im_start|>hello ", False),
        ("hi there.<|im_end|>", True),
        ("bye ", False),
        ("farewell<|im_end|>", True),
    ]
    messages = [{"role": "text", "content": text, "train": flag} for text, flag in segments]
    rendered = render(messages, tokenizer)
    assert rendered.ids == tokenizer("".join(text for text, _ in segments), add_special_tokens=False)["input_ids"]
    assert trained_text(messages, tokenizer) == " hi there.<|im_end|> farewell<|im_end|>"
    assert not failed(messages, tokenizer)


@pytest.mark.parametrize("template", [CHATML, CHANNELS, DROPS_THOUGHTS, TWO_ENDS, SHORT_INST])
def test_a_long_conversation_is_rendered_as_if_every_turn_were_asked_for(tokenizer, template, monkeypatch):
    messages = conversation(*(f"turn {n}" for n in range(60)))
    for message in messages[1::6]:
        message["reasoning"] = "hm"
    renderer = Renderer(with_template(tokenizer, template))
    quick = renderer.render(messages, "answers_and_reasoning")
    monkeypatch.setattr(layout, "ASKED_ANSWERS", 1000)
    monkeypatch.setattr(render_module, "_LAYOUTS", {})
    assert quick == renderer.render(messages, "answers_and_reasoning")


def test_a_model_that_was_taught_to_think_is_asked_as_it_was_trained(tokenizer):
    """Else it would be sampled and judged after an empty thought, which stands in no row of its training."""
    tokenizer = with_template(tokenizer, DROPS_THOUGHTS)
    row = conversation("Where?", "It is there.")
    row[-1]["reasoning"] = "Let me see."
    whole, asked = render(row, tokenizer).ids, render(row[:-1], tokenizer, prompt=True).ids
    assert whole[: len(asked)] != asked
    set_thinking(tokenizer, True)
    asked = render(row[:-1], tokenizer, prompt=True).ids
    assert whole[: len(asked)] == asked and is_thinking(tokenizer)
    plain = conversation("Where?", "It is there.")
    assert render(plain, tokenizer).ids == render(plain, with_template(tokenizer, DROPS_THOUGHTS)).ids, "rows stay"


@pytest.mark.parametrize(
    ("policy", "share", "thinks"),
    [("answers_and_reasoning", 0.6, True), ("answers_and_reasoning", 0.4, False), ("answers", 1.0, False)],
)
def test_a_run_thinks_if_most_of_its_rows_do_and_thoughts_are_trained(policy, share, thinks):
    rows = [{"id": str(number), "messages": conversation("q", "a")} for number in range(10)]
    for row in rows[: int(10 * share)]:
        row["messages"][-1]["reasoning"] = "so"
    assert trains_thoughts(Recipe(data="x", train_on=policy), rows) is thinks


# --- where an answer ends, generation stops ---------------------------------------------------------------------------


def ids_of(tokenizer, *names):
    return set(tokenizer.convert_tokens_to_ids(list(names)))


@pytest.mark.parametrize(
    ("template", "ends"),
    [
        (CHATML, ["<|im_end|>"]),
        (TWO_ENDS, ["<|im_end|>"]),
        (CHANNELS, ["<|endoftext|>"]),
        (PARTICULAR, ["<|endoftext|>"]),
        # The end of each call (Gemma 4's), which is no end of a turn of two.
        (CALLING.replace("</tool_call>", "<file_sep>"), ["<|im_end|>"]),
        # Another end after calls (Llama 3's <|eom_id|>, GPT-OSS's <|call|>).
        (
            CALLING.replace(
                "<|im_end|>\n{% endfor %}{% if add",
                "{% if message.tool_calls %}<file_sep>{% else %}<|im_end|>{% endif %}\n{% endfor %}{% if add",
            ),
            ["<|im_end|>", "<file_sep>"],
        ),
    ],
    ids=["chatml", "cohere", "gpt-oss", "deepseek", "gemma", "llama"],
)
def test_what_ends_an_answer_by_the_template_stops_generation(tokenizer, plain, template, ends):
    """A base vocabulary whose end-of-text is another token than the one its chat template ends turns with."""
    import copy

    base, model = with_template(tokenizer, template), copy.deepcopy(plain)
    base.eos_token = "<|endoftext|>"
    model.generation_config.eos_token_id = base.eos_token_id
    assert set(generate.stop_ids(model, base)) == ids_of(base, "<|endoftext|>", *ends)
    assert not failed(conversation("q", "a"), base)


def test_an_end_that_generation_does_not_know_is_refused(tokenizer):
    """The template ends answers otherwise where there is a system turn: nothing stops there."""
    changes = CHATML.replace("'<|im_end|>\n'", "('<file_sep>' if messages[0]['role'] == 'system' else '<|im_end|>\n')")
    base = with_template(tokenizer, changes)
    assert failed(conversation("q", "a"), base) == []
    assert failed([{"role": "system", "content": "s"}, *conversation("q", "a")], base) == ["end-of-turn"]


# --- nothing of a tool or a call is lost without a word ---------------------------------------------------------------

TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds.",
        "parameters": {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"]},
    },
}


def called(*calls):
    made = [{"type": "function", "function": {"name": name, "arguments": values}} for name, values in calls]
    return [{"role": "user", "content": "u"}, {"role": "assistant", "content": "", "tool_calls": made}]


FIRST_CALL = CALLING.replace("message.tool_calls or []", "(message.tool_calls or [])[:1]")


@pytest.mark.parametrize(
    ("loses", "calls"),
    [
        (FIRST_CALL, [("address", {}), ("add", {})]),  # the lost call's name is part of the other's
        (FIRST_CALL, [("add", {"a": 1}), ("add", {"a": 1})]),
        (CALLING.replace("call.function |", "call.function.name |"), [("add", {"a": "x"})]),
        (
            CALLING.replace("call.function |", "[call.function.name, call.function.arguments | list] |"),
            [("f", {"a": 1})],
        ),
        (CALLING.replace("call.function |", "(call.function.name ~ call.function.arguments.a) |"), [("f", {"a": 1})]),
    ],
    ids=["part of a name", "equal calls", "arguments", "values", "keys"],
)
def test_a_call_or_an_argument_that_the_template_loses_is_refused(tokenizer, loses, calls):
    assert render(called(*calls), with_template(tokenizer, CALLING))
    with pytest.raises(BadData, match="leaves tool calls out"):
        render(called(*calls), with_template(tokenizer, loses))


@pytest.mark.parametrize(
    ("shown", "is_left_out"),
    [("tools | tojson", False), ("''", True), ("tools[0].function.name", True), ("tools[0] | tojson", True)],
)
def test_tools_that_the_template_leaves_out_are_named(tokenizer, shown, is_left_out):
    other = {**TOOL, "function": {**TOOL["function"], "name": "ad"}}
    renderer = Renderer(with_template(tokenizer, CALLING.replace("tools | tojson", shown)))
    rendered = renderer.render(conversation("add", "ad a b Adds."), tools=[TOOL, other])
    assert bool(rendered.unwritten_tools) is is_left_out
    assert ("add" in rendered.unwritten_tools) is (is_left_out and shown != "tools[0] | tojson")


# --- thoughts that a row has, and those it has not --------------------------------------------------------------------

EMPTY = CHATML.replace(  # no switch: an answer without a thought gets an empty one, which the model has to write
    "m['role'] + '\n' +",
    "m['role'] + '\n' + ('<think>\n' ~ m['reasoning'] ~ '\n</think>\n\n' if m['role'] == 'assistant' else '') +",
)


def roles_of(rendered, role):
    return "".join(text for text, name in zip(rendered.text, rendered.role) if name == role)


@pytest.mark.parametrize("policy", ["answers", "answers_and_reasoning"])
@pytest.mark.parametrize("template", [DROPS_THOUGHTS, EMPTY], ids=["switch", "no switch"])
def test_a_thought_that_the_row_has_not_is_not_trained(tokenizer, policy, template):
    """Qwen 3 writes an empty thought before an answer without one, where another turn has a thought."""
    tokenizer = with_template(tokenizer, template)
    call = {"role": "assistant", "content": "", "tool_calls": [CALL], "reasoning": "I add."}
    messages = [*conversation("q"), call, {"role": "tool", "content": "3"}, {"role": "assistant", "content": "two"}]
    if template == EMPTY:
        messages = conversation("q", "one", "r", "two")
        messages[1]["reasoning"] = "I add."
    rendered = render(messages, tokenizer, policy)
    assert "<think>\n\n</think>" in "".join(rendered.text)
    text = trained_text(messages, tokenizer, policy)
    assert text.endswith("two<|im_end|>") and text.count("think>") == (2 if policy == "answers_and_reasoning" else 0)
    assert not failed(messages, tokenizer, policy)


def test_an_empty_thought_that_was_written_is_trained_as_a_thought_or_counted(tokenizer):
    messages = [*conversation("q"), {"role": "assistant", "content": "two", "reasoning": ""}]
    rendered = render(messages, with_template(tokenizer, EMPTY), "answers_and_reasoning")
    assert roles_of(rendered, "reasoning") == "<think>\n\n</think>" and not rendered.dropped_thoughts
    assert "<think>" in trained_text(messages, with_template(tokenizer, EMPTY), "answers_and_reasoning")
    assert "think" not in trained_text(messages, with_template(tokenizer, EMPTY))
    assert render(messages, tokenizer).dropped_thoughts == (1,), "a template without thoughts: it is counted"


def test_a_thought_beside_a_marked_part_is_trained(tokenizer):
    messages = [
        *conversation("q"),
        {"role": "assistant", "content": "no yes", "reasoning": "hm", "train_spans": [[2, 6]]},
    ]
    tokenizer = with_template(tokenizer, DROPS_THOUGHTS)
    assert trained_text(messages, tokenizer, "answers_and_reasoning") == "<think>\nhm\n</think> yes<|im_end|>"
    assert trained_text(messages, tokenizer) == " yes<|im_end|>"


def test_a_call_before_the_place_of_a_thought_is_no_thought(tokenizer):
    """The content follows the calls there, and a thought in the content would too."""
    calls_first = CALLING.replace("{{ message.content }}", "").replace(
        "{% endfor %}<|im_end|>", "{% endfor %}{{ message.content }}<|im_end|>"
    )
    messages = [TALK[0], {**TALK[1], "reasoning": "hm"}]
    assert "add" in trained_text([TALK[0], TALK[1]], with_template(tokenizer, calls_first))
    with pytest.raises(BadData, match="no place for the reasoning of message 2"):
        render(messages, with_template(tokenizer, calls_first))


def test_a_token_of_two_parts_of_an_answer_is_refused(tokenizer):
    messages = conversation("q", "un happy")
    messages[1]["train_spans"] = [[5, 8]]
    assert failed(messages, tokenizer) == ["whole-answer"], "' happy' is one token: its second half can't be trained"
    messages[1]["train_spans"] = [[3, 8]]
    assert failed(messages, tokenizer) == []


@pytest.mark.parametrize("value", [float("nan"), b"bytes", {1, 2}, "\ud800"], ids=["nan", "bytes", "set", "surrogate"])
def test_a_value_that_no_template_can_write_as_it_is_is_refused(calling, value):
    """It would be trained as something else: '<bytes>', NaN."""
    messages = called(("f", {"a": value}))
    with pytest.raises(BadData, match=r"no JSON|half of a character"):
        render(messages, calling)
    with pytest.raises(BadData, match=r"no JSON|half of a character"):
        render(conversation("q", "a"), calling, tools=[{"name": "f", "enum": [value]}])


def test_half_of_a_character_is_named(tokenizer):
    with pytest.raises(BadData, match=r"Message 2 holds half of a character \('\\ud83d'\)"):
        render(conversation("q", "a \ud83d"), tokenizer)

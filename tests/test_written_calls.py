"""What a template writes for calls is what evaluation reads from an answer with the very same tokens."""

import sys
from pathlib import Path

import pytest

from etabli.core.errors import BadData
from etabli.evaluation.call_format import CallFormat
from etabli.evaluation.clean_answer import CleanAnswer, clean_raw, find_answer_marks
from etabli.evaluation.scores.calls import is_right_call
from etabli.rendering.render import Renderer

sys.path.insert(0, str(Path(__file__).parent))

STRING, INTEGER, LIST = {"type": "string"}, {"type": "integer"}, {"type": "array", "items": {"type": "string"}}
PROPERTIES = {
    **dict.fromkeys(("s", "t"), STRING),
    **{"i": INTEGER, "n": {"type": "number"}, "b": {"type": "boolean"}, "l": LIST, "o": {"type": "object"}},
    **{"u": {"type": ["string", "null"]}, "e": {"enum": ["1", "2"]}, "m": {"anyOf": [STRING, {"type": "null"}]}},
}
TOOLS = [
    {
        "type": "function",
        "function": {"name": name, "description": "d", "parameters": {"type": "object", "properties": PROPERTIES}},
    }
    for name in ("fn", "other.fn")
]
TEXTS = [
    "x",
    "",
    "42",
    "true",
    "null",
    "  pad ",
    "two\nlines\n",
    "\n\nx",
    'say "hi"\\n',
    "it's",
    '"x"',
    "Zürich é 日本 🙂",
]
TEXTS += ['{"k": 1}', "a}b,c:d", "a@b.c; x=1, y=2", "<b>&amp;</b>", "\\", "\\'"]
ARGUMENTS = [
    {"s": "a', t='b"},
    *({"s": text} for text in TEXTS),
    *({"s": text, "t": "end"} for text in TEXTS),
    *({"u": text} for text in ("x", "42", "false")),
    *({key: value} for key, value in [("i", 5), ("i", -7), ("n", 1.5), ("b", True), ("b", False), ("u", None)]),
    *({"l": value} for value in ([], ["a", "b c"], ["1"], ["it's", 'a "b"'])),
    *({"o": value} for value in ({}, {"k": [1, {"z": None}]}, {"k": {"deep": "x, y", "is": False}})),
    *({}, {"e": "1"}, {"m": "7"}, {"m": None}, {"s": "a", "i": 3, "l": ["z"], "b": True}),
]
CALLS = [
    *([{"name": "fn", "arguments": arguments}] for arguments in ARGUMENTS),
    [{"name": "other.fn", "arguments": {"s": "x"}}],
    [{"name": "fn", "arguments": {"s": "a"}}, {"name": "other.fn", "arguments": {"i": 1}}],
    [{"name": "fn", "arguments": {}}, {"name": "fn", "arguments": {"l": ["a"], "s": "it's"}}],
]


def make_row(calls):
    turns = [{"id": f"call{number:05}", "type": "function", "function": call} for number, call in enumerate(calls)]
    answer = {"role": "assistant", "content": "", "tool_calls": turns}
    return {"id": "r", "tools": TOOLS, "messages": [{"role": "user", "content": "Hm?"}, answer]}


def read_back(tokenizer, renderer, marks, row) -> CleanAnswer:
    """What evaluation reads if a model writes the trained tokens of the row. Raises BadData: it can't be trained."""
    messages = row["messages"]
    tokens = renderer.render(messages, "answers", tools=TOOLS)
    prompt = renderer.render(messages[:1], "answers", tools=TOOLS, prompt=True)
    ids = [token for token, is_trained in zip(tokens.ids, tokens.trained) if is_trained]
    text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    raw = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return clean_raw(raw, text.strip(), "".join(prompt.text), marks, TOOLS)


def is_ambiguous(renderer, row) -> bool:
    """Does a template without escapes write these arguments as it writes other ones?"""
    same = make_row([{"name": "fn", "arguments": {"s": "a", "t": "b"}}])
    ids, same_ids = (renderer.render(one["messages"], "answers", tools=TOOLS).ids for one in (row, same))
    return ids == same_ids and row["messages"] != same["messages"]


def check_calls(tokenizer) -> tuple[CallFormat | None, int]:
    """The form of calls, and the number of rows that come back; fails if one does not."""
    renderer, marks, count = Renderer(tokenizer), find_answer_marks(tokenizer), 0
    for calls in CALLS:
        row = make_row(calls)
        try:
            if is_ambiguous(renderer, row):
                continue
            answer = read_back(tokenizer, renderer, marks, row)
        except BadData:
            continue
        assert marks.calls is not None, "calls are trained that evaluation can't read"
        assert is_right_call(answer.calls, row) and not answer.unreadable_calls, (calls, answer)
        count += 1
    return marks.calls, count


def list_templates() -> list[str]:
    import families

    try:
        return families.template_files()
    except OSError:
        return []


@pytest.mark.slow
@pytest.mark.parametrize("name", list_templates())
def test_calls_come_back_from_every_template(name):
    import families

    call_format, count = check_calls(families.lend(families.template_text(name)))
    assert count >= 0.9 * len(CALLS) if call_format else count == 0, (name, count)


@pytest.mark.slow
def test_most_templates_have_calls():
    import families
    from etabli.evaluation.call_probe import find_call_format

    names = list_templates()
    if not names:
        pytest.skip("no package index answered")
    formats = {name: find_call_format(families.lend(families.template_text(name))) for name in names}
    assert sum(map(bool, formats.values())) >= 45, [name for name in names if not formats[name]]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen3", "deepseek_v3"])
def test_calls_come_back_from_a_models_own_template_and_vocabulary(name):
    import vocabularies

    try:
        tokenizer = vocabularies.tokenizer(name)
    except OSError as error:
        pytest.skip(f"no registry answered: {error}")
    call_format, count = check_calls(tokenizer)
    assert call_format and count >= 0.9 * len(CALLS)

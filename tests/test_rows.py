"""What is in a row is used, refused, or named: thoughts, marks, system texts, splits, exports of other tools."""

import json

import pytest

from etabli.checks.check import check
from etabli.core.errors import BadData
from etabli.data.dataset import Dataset
from etabli.data.reading.source import read

USER, ANSWER = {"role": "user", "content": "How many legs have 2 horses?"}, {"role": "assistant", "content": "8 legs."}
THOUGHT = "One horse has four legs, twice four is eight."
KEPT = {**ANSWER, "reasoning": THOUGHT}


def codes(source, **options):
    """The codes that a check finds, but for those about licences."""
    return {code for code in check(source, **options).counts if not code.startswith("licence")}


def messages(source, **options):
    """The messages of the first row."""
    return read(source, **options)[0]["messages"]


# --- thoughts ---------------------------------------------------------------------------------------------------------

PIECES = [{"type": "text", "text": THOUGHT[:10]}, {"type": "text", "text": THOUGHT[10:]}]
THOUGHTS = {
    "DeepSeek's key": {"reasoning_content": THOUGHT},
    "Ollama's key": {"thinking": THOUGHT},
    "OpenRouter's key": {"reasoning": THOUGHT},
    "two keys that agree": {"reasoning": THOUGHT, "reasoning_content": THOUGHT},
    "Anthropic's part": {
        "content": [{"type": "thinking", "thinking": THOUGHT, "signature": "x"}, {"type": "text", "text": "8 legs."}]
    },
    "a part of a reasoning": {"content": [{"type": "reasoning", "text": THOUGHT}, {"type": "text", "text": "8 legs."}]},
    "OpenAI's summary": {
        "content": [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": THOUGHT}]},
            {"type": "output_text", "text": "8 legs."},
        ]
    },
    "Bedrock's part": {
        "content": [{"reasoningContent": {"reasoningText": {"text": THOUGHT, "signature": "x"}}}, {"text": "8 legs."}]
    },
    "tags": {"content": f"<think>\n{THOUGHT}\n</think>\n\n8 legs."},
    "tags on one line": {"content": f"<think>{THOUGHT}</think>8 legs."},
    "tags and a key that agree": {"content": f"<think>\n{THOUGHT}\n</think>\n\n8 legs.", "thinking": THOUGHT},
    "OpenAI's local models' key": {"reasoning_text": THOUGHT},
    "a key of a thought": {"thought": THOUGHT},
    "a list under a key": {"thoughts": [THOUGHT]},
    "OpenRouter's details": {"reasoning_details": [{"type": "reasoning.text", "text": THOUGHT, "signature": "x"}]},
    "details in pieces and a key": {
        "reasoning": THOUGHT,
        "reasoning_details": [
            {"type": "reasoning.text", "index": 0, "text": THOUGHT[:9]},
            {"type": "reasoning.text", "index": 0, "text": THOUGHT[9:]},
        ],
    },
    "OpenAI's part": {
        "content": [
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": THOUGHT}]},
            {"type": "output_text", "text": "8 legs."},
        ]
    },
    "another tag": {"content": f"<thinking>\n{THOUGHT}\n</thinking>\n\n8 legs."},
    "Mistral's tag": {"content": f"[THINK]{THOUGHT}[/THINK]8 legs."},
    "capitals": {"content": f"<THINK>{THOUGHT}</THINK>8 legs."},
    "a thought's tag": {"content": f"<thought>{THOUGHT}</thought>\n8 legs."},
    "a tag written twice": {"content": f"<think>\n<think>\n{THOUGHT}\n</think>\n\n8 legs."},
    "both tags written twice": {"content": f"<think><think>{THOUGHT}</think></think>8 legs."},
    "a key and empty tags": {"content": "<think>\n\n</think>\n\n8 legs.", "thinking": THOUGHT},
}


@pytest.mark.parametrize("name", THOUGHTS)
def test_a_thought_is_one_text_however_it_is_written(name, tmp_path):
    row = {"messages": [USER, {**ANSWER, **THOUGHTS[name]}]}
    assert messages([row]) == [USER, KEPT] and codes([row]) == set()
    data = Dataset(read([row, {"messages": [USER, ANSWER]}])).save(tmp_path / "saved")
    again = Dataset.open(tmp_path / "saved")
    assert again.rows == data.rows and again.rows[0]["messages"] == [USER, KEPT] and again.hash == data.hash


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": USER["content"], "completion": f"<think>\n{THOUGHT}\n</think>\n\n8 legs."},
        {"prompt": USER["content"], "completion": "8 legs.", "reasoning": THOUGHT},
        {"instruction": USER["content"], "output": "8 legs.", "thinking": THOUGHT},
        {"prompt": [USER], "completion": [{**ANSWER, "reasoning_content": THOUGHT}]},
        {"conversations": [{"from": "human", "value": USER["content"]}, {"from": "gpt", "value": "8 legs."}]},
    ],
)
def test_thoughts_of_every_format(row):
    if "conversations" in row:
        row["conversations"][1]["reasoning_content"] = THOUGHT
    assert messages([row]) == [USER, KEPT] and codes([row]) == set()


def test_a_thought_in_a_column_of_another_name():
    row = {"Question": USER["content"], "Response": "8 legs.", "Complex_CoT": THOUGHT}
    columns = {"prompt": "Question", "completion": "Response", "reasoning": "Complex_CoT"}
    assert messages([row], columns=columns) == [USER, KEPT]


def test_rows_without_a_thought_keep_their_hash():
    """The hash of a row of an earlier version; an empty thought is not no thought."""
    row = {"messages": [USER, {**ANSWER, "reasoning_content": ""}]}
    assert read([row]) == read([{"messages": [USER, ANSWER]}]) and "reasoning" not in messages([row])[1]
    assert Dataset(read([{"messages": [USER, ANSWER]}])).hash == (
        "0e74b3b0ffd5704a54edf0cc3118f2610ed589383e35d55cde582c35443b15cd"
    )
    hashes = {
        Dataset([{"id": "a", "messages": [USER, turn]}]).hash for turn in (ANSWER, KEPT, {**ANSWER, "reasoning": ""})
    }
    assert len(hashes) == 3


@pytest.mark.parametrize(
    "turn, code",
    [
        ({"reasoning": "a", "thinking": "b"}, "reasoning"),
        ({"reasoning": 3}, "reasoning"),
        ({"reasoning": "a", "content": "<think>\nb\n</think>\n\nc"}, "reasoning"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": "b"}]}, "reasoning"),
        ({"content": [{"type": "thinking"}, {"type": "text", "text": "a"}]}, "reasoning"),
        ({"content": [{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "a"}]}, "not-text"),
    ],
)
def test_a_thought_that_cannot_be_read_is_refused(turn, code):
    row = {"messages": [USER, {**ANSWER, **turn}]}
    assert code in codes([row])
    with pytest.raises(BadData):
        read([row])


@pytest.mark.parametrize(
    "turn",
    [
        {"content": [{"type": "reasoning", "content": "a", "summary": "b"}, {"type": "text", "text": "c"}]},
        {"content": [{"type": "reasoning", "content": [{"text": "a"}], "summary": [{"text": "b"}]}, {"text": "c"}]},
        {"reasoning": {"content": "a", "summary": "b"}},
        {"reasoning_details": [{"type": "reasoning.text", "text": "a", "summary": "b"}]},
    ],
)
def test_a_second_text_of_a_thought_is_named(turn):
    row = {"messages": [USER, {**ANSWER, **turn}]}
    assert messages([row])[1]["reasoning"] == "a"
    [finding] = check([row]).findings("unknown-key")
    assert "summary is not used" in finding["why"]
    same = json.loads(json.dumps(row).replace('"b"', '"a"'))
    assert "unknown-key" not in codes([same]), "a text that stands twice is used"


def test_a_thought_that_is_no_answers_is_named():
    assert "unknown-key" in codes([{"messages": [{**USER, "thinking": "x"}, ANSWER]}])
    for content in ("so <think>b</think> c", "a\n</think>\n\nb", "<think>cut off"):
        assert "thought-tags" in codes([{"messages": [USER, {**ANSWER, "content": content}]}])
        assert messages([{"messages": [USER, {**ANSWER, "content": content}]}])[1]["content"] == content


@pytest.mark.parametrize(
    "turn",
    [
        {"content": "<think>a </think> b</think>c"},
        {"content": "<think>a<think>b</think>c</think>d"},
        {"reasoning": "a </think> b"},
        {"reasoning_details": [{"type": "reasoning.text", "text": "a [/THINK] b"}]},
        {"content": "<thinking>cut off"},
        {"content": "<reasoning>a</reasoning>b"},
        {"content": "so [THINK]b[/THINK] c"},
    ],
)
def test_tags_within_a_thought_or_an_answer_are_named(turn):
    assert codes([{"messages": [USER, {**ANSWER, **turn}]}]) == {"thought-tags"}


def test_an_encrypted_piece_of_a_thought_is_named():
    pieces = [{"type": "reasoning.encrypted", "data": "abc"}, {"type": "reasoning.text", "text": THOUGHT}]
    row = {"messages": [USER, {**ANSWER, "reasoning_details": pieces}]}
    assert messages([row]) == [USER, KEPT] and codes([row]) == {"unknown-key"}
    row = {"messages": [USER, {**ANSWER, "reasoning_details": pieces[:1]}]}
    assert messages([row]) == [USER, ANSWER] and codes([row]) == {"unknown-key"}


def test_checks_read_thoughts_or_say_that_they_do_not():
    told = "write to harbour.master@portoffice.org"
    report = check([{"messages": [USER, {**ANSWER, "thinking": told + "\0"}]}, {"messages": [USER, ANSWER]}])
    assert {"pii-email", "nul"} <= report.counts.keys()
    assert [item["field"] for item in report.findings("nul")] == ["messages[1].reasoning"]
    [silent] = [item for item in report.not_run if "duplicate-row" in item["check"]]
    assert silent["rows"] == 1


# --- marks ------------------------------------------------------------------------------------------------------------

AGAIN = [{"role": "user", "content": "Sure?"}, {"role": "assistant", "content": "Yes, 8."}]
MARKS = ["train", "weight", "loss_weight", "training", "trainable", "train_on_turn", "loss", "loss_mask"]


@pytest.mark.parametrize("name", [*MARKS, "masked"])
def test_every_trainers_mark_is_a_mark(name):
    turned = name == "masked"
    row = {"messages": [USER, {**ANSWER, name: turned}, AGAIN[0], {**AGAIN[1], name: not turned}]}
    assert [message.get("train") for message in messages([row])] == [None, False, None, True] and codes([row]) == set()
    talk = {"from": "human", "value": "Hello", name: not turned}, {"from": "gpt", "value": "Hello", name: turned}
    assert [message.get("train") for message in messages([{"conversations": list(talk)}])] == [True, False]
    part = {"type": "text", "text": "4. ", name: turned}, {"type": "text", "text": "8 legs.", name: not turned}
    [_, answer] = messages([{"messages": [USER, {**ANSWER, "content": list(part)}]}])
    assert answer == {**ANSWER, "content": "4. 8 legs.", "train_spans": [[3, 10]]}


def test_marks_of_calls_and_of_lists_beside_the_turns():
    call = {"from": "function_call", "value": '{"name": "f", "arguments": {}}', "train": False}
    row = {"conversations": [{"from": "human", "value": "x"}, call, {"from": "observation", "value": "y"}]}
    assert messages([row])[1]["train"] is False
    row = {"messages": [USER, ANSWER, *AGAIN], "loss_mask": [0, 0, 0, 1], "system": "Be brief."}
    assert [message.get("train") for message in messages([row])] == [None, None, False, None, True]
    assert codes([row]) == set()
    assert "unknown-mark" in codes([{**row, "loss_mask": [0, 1]}])


@pytest.mark.parametrize("marks", [{"weight": 0.5}, {"train": "no"}, {"train": True, "weight": 0}, {"masked": 2}])
def test_marks_that_say_nothing_are_refused(marks):
    assert "unknown-mark" in codes([{"messages": [USER, {**ANSWER, **marks}]}])


def test_parts_with_one_mark_and_misspelt_ones(tmp_path):
    def answer(*parts, **marks):
        return messages([{"messages": [USER, {**ANSWER, "content": list(parts), **marks}]}])[1]

    first, last = {"type": "text", "text": "a"}, {"type": "text", "text": "b"}
    assert answer({**first, "train": False}, {**last, "weight": 0}) == {**ANSWER, "content": "ab", "train": False}
    assert answer({**first, "train": True}, last) == {**ANSWER, "content": "ab", "train": True}
    assert answer(first, {**last, "train": True}, train=False)["train_spans"] == [[1, 2]]
    row = {"messages": [USER, {**ANSWER, "content": [first, {**last, "trian": False}]}]}
    assert codes([row]) == {"unknown-key"}
    marked = Dataset(read([{"messages": [USER, {**ANSWER, "content": [first, {**last, "train": False}]}]}]))
    marked.save(tmp_path / "saved")
    assert Dataset.open(tmp_path / "saved").rows == marked.rows
    unmarked = {"id": marked.rows[0]["id"], "messages": [USER, {**ANSWER, "content": "ab"}]}
    assert marked.hash != Dataset([{**marked.rows[0], **unmarked}]).hash


def test_a_turn_that_only_a_users_mark_trains_teaches_something():
    row = {"messages": [{**USER, "train": True}, {**ANSWER, "train": False}]}
    assert "nothing-trained" not in codes([row]) and messages([row])[0]["train"] is True


def test_roles_of_other_vocabularies():
    for role, ours in {"ipython": "tool", "model": "assistant", "User": "user", "SYSTEM": "system"}.items():
        row = {"messages": [USER, ANSWER, {"role": role, "content": "x"}, ANSWER]}
        assert messages([row])[2]["role"] == ours


# --- system texts -----------------------------------------------------------------------------------------------------

BRIEF = {"role": "system", "content": "Be brief."}
SYSTEMS = [
    {"system": "Be brief."},
    {"system": [{"text": "Be brief."}]},
    {"system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]},
    {"system_prompt": "Be brief."},
    {"systemInstruction": {"role": "system", "parts": [{"text": "Be brief."}]}},
    {"system": "Be brief.", "messages": [BRIEF, USER, ANSWER]},
]


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_text_beside_the_turns_is_the_first_turn(system):
    row = {"messages": [USER, ANSWER], **system}
    assert messages([row]) == [BRIEF, USER, ANSWER] and codes([row]) == set()


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": [USER, ANSWER]},
        {"instruction": USER["content"], "output": ANSWER["content"]},
        {"prompt": USER["content"], "completion": ANSWER["content"]},
    ],
)
def test_every_format_reads_the_system_text(row):
    for system in SYSTEMS[:-1]:
        assert messages([{**row, **system}]) == [BRIEF, USER, ANSWER]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": USER["content"], "chosen": ANSWER["content"], "rejected": "4"},
        {"chosen": [USER, ANSWER], "rejected": [USER, ANSWER]},
        {"input": {"messages": [USER]}, "preferred_output": [ANSWER], "non_preferred_output": [ANSWER]},
        {"prompt": USER["content"], "completion": ANSWER["content"], "label": True},
    ],
)
def test_preferred_answers_keep_their_system_text(row):
    assert messages([{**row, "system": "Be brief."}], format="preferred") == [BRIEF, USER, ANSWER]


def test_a_system_text_that_no_format_reads_is_named():
    for row in ({"text": "x", "system": "y"}, {"segments": [{"text": "a", "label": True}], "system": "y"}):
        assert "extra-columns" in codes([row])
    assert "extra-columns" in codes([{"messages": [USER, ANSWER], "chat_template_kwargs": {"enable_thinking": True}}])
    assert "wrong-type" in codes([{"messages": [USER, ANSWER], "system": 3}])


def test_questions_keep_their_system_text():
    from etabli.data.reading.source import read_questions

    rows = read_questions([{"prompt": USER["content"], "system": "Be brief."}])
    assert rows is not None and rows[0]["messages"] == [BRIEF, USER]


# --- splits -----------------------------------------------------------------------------------------------------------

SPLITS = {
    "train": ["train", "Train", "TRAINING", "train_sft"],
    "validation": ["validation", "valid", "VAL", "dev", "Eval", "validation_matched"],
    "test": ["test", "Test", "TEST", "testing", "test_sft", "held-out test"],
}


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_is_one_word_however_it_is_written(split):
    rows = [{"prompt": str(number), "completion": "x", "split": mark} for number, mark in enumerate(SPLITS[split])]
    assert {row["split"] for row in read(rows)} == {split} and codes(rows) == set()


def test_marks_that_are_no_split_and_columns_that_may_be_one():
    assert codes([{"prompt": "a", "completion": "b", "split": "fold 3"}]) == {"unknown-split"}
    rows = [{"prompt": str(number), "completion": "b", "set": mark} for number, mark in enumerate(("train", "test"))]
    assert codes(rows) == {"split-column"} and check(rows).counts["split-column"] == 1
    assert [row["split"] for row in read(rows, columns={"split": "set"})] == ["train", "test"]


def test_rows_to_validate_or_test_with_are_not_trained(tmp_path):
    """60 rows of six marks: ten are trained, the thirty for validation are held out, twenty are the test's."""
    from etabli.runs.recipe import Recipe
    from etabli.training.train_data import split_rows

    marks = ["train", "validation", "Test", "test", "dev", "eval"]
    rows = [{"prompt": f"Name {n}", "completion": f"{7 * n}.", "split": marks[n % 6]} for n in range(60)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = Dataset.open(tmp_path / "rows.jsonl")
    split = split_rows(Recipe(data="x"), data)
    assert (len(split.train), len(split.held_out), len(data.part("test"))) == (10, 30, 20)
    assert {row["split"] for row in split.train} == {"train"}
    named = split_rows(Recipe(data="x", eval_data="y"), data, None, lambda name, folder: Dataset(data.part("test")))
    assert len(named.train) == 10 and {row["split"] for row in named.held_out} == {"test"}
    whole = split_rows(Recipe(data="x", eval_data="y"), data, None, lambda name, folder: data)
    assert [row["split"] for row in whole.held_out] == ["validation"] * 30
    untested = Dataset([row for row in data.rows if row["split"] != "test"]).with_test(0.5)
    assert len(untested.part("validation")) == 30 and len(untested.part("test")) == 10


def test_a_dataset_of_an_older_version_keeps_its_test_rows_apart(tmp_path):
    [row] = read([{"prompt": "a", "completion": "b"}])
    Dataset([{**row, "split": "Test"}]).save(tmp_path / "saved")
    assert len(Dataset.open(tmp_path / "saved").part("test")) == 1


# --- exports of other tools -------------------------------------------------------------------------------------------

TEXT, LABEL = "The train to Lyon is late.", "complaint"
PAIR = [{"role": "user", "content": TEXT}, {"role": "assistant", "content": LABEL}]
COLUMNS = {"prompt": "text", "completion": "label"}


def label_studio(*labels, cancelled=()):
    """A task of Label Studio with an annotation for each label."""
    results = [
        [{"value": {"choices": [label]}, "from_name": "label", "to_name": "text", "type": "choices"}]
        for label in labels
    ]
    notes = [{"result": result, "was_cancelled": number in cancelled} for number, result in enumerate(results)]
    return {"id": 3, "data": {"text": TEXT}, "annotations": notes, "meta": {}}


TASKS = {
    "Label Studio": label_studio(LABEL),
    "Label Studio, the short one": {"id": 3, "text": TEXT, "label": LABEL, "annotator": 1},
    "doccano": {"id": 3, "text": TEXT, "label": [LABEL]},
    "Prodigy": {"text": TEXT, "label": LABEL, "answer": "accept", "_input_hash": 1, "_task_hash": 2},
    "Prodigy's choices": {
        **{"text": TEXT, "accept": ["A"], "answer": "accept", "_task_hash": 2},
        "options": [{"id": "A", "text": LABEL}, {"id": "B", "text": "praise"}],
    },
    "Argilla": {
        **{"text": TEXT, "label.responses": ["praise", LABEL], "label.responses.users": ["a", "b"]},
        **{"label.responses.status": ["discarded", "submitted"], "label.suggestion": "praise"},
    },
}


@pytest.mark.parametrize("name", TASKS)
def test_a_text_with_a_label_is_a_task_and_the_command_is_given(name):
    rows = [TASKS[name]]
    with pytest.raises(BadData, match="--column prompt=text --column completion=label, or the text alone"):
        read(rows)
    assert codes(rows) == {"task-columns"} and check(rows).code == 1
    assert messages(rows, columns=COLUMNS) == PAIR and "task-columns" not in codes(rows, columns=COLUMNS)
    assert messages(rows, format="text") == [{"role": "text", "content": TEXT}]


@pytest.mark.parametrize(
    "columns, command",
    [
        ({"summary": "s"}, "--column prompt=text --column completion=summary"),
        ({"label": 2}, "--column prompt=text --column completion=label"),
        ({"label": 2, "input": "Classify", "output": "Business"}, "--column prompt=input --column completion=output"),
        ({"question": "q", "answer": "a"}, "--column prompt=question --column completion=answer"),
        ({"label": [[13, 17, "CITY"]]}, "None of them is an answer as text"),
    ],
)
def test_the_command_names_question_and_answer(columns, command):
    rows = [{"text": TEXT, **columns}]
    with pytest.raises(BadData) as error:
        read(rows)
    assert command in str(error.value)
    if command.startswith("--column"):
        pairs = [pair.split("=") for pair in command.replace("--column ", "").split()]
        [_, answer] = messages(rows, columns=dict(pairs))
        assert answer["content"] == str(columns[dict(pairs)["completion"]])


def test_a_text_without_a_task_stays_plain():
    rows = [{"text": TEXT, "title": "x", "url": "y", "label": None}]
    assert messages(rows) == [{"role": "text", "content": TEXT}]


def test_unknown_columns_are_answered_with_a_command():
    with pytest.raises(BadData, match=r"Name the columns: --column prompt=question \("):
        read([{"Kysymys": "a", "Vastaus": "b"}])
    with pytest.raises(BadData, match="--column prompt=Question --column completion=Response"):
        read([{"Question": "a", "Response": "b"}])


REJECTED = [
    {**TASKS["Prodigy"], "answer": "reject"},
    {**TASKS["Prodigy"], "answer": "ignore"},
    {"text": TEXT, "label": LABEL, "status": "Rejected"},
    {"text": TEXT, "label": LABEL, "review_status": "discarded"},
    label_studio(LABEL, cancelled=(0,)),
    label_studio(),
    {**TASKS["Argilla"], "label.responses.status": ["discarded", "discarded"]},
]


@pytest.mark.parametrize("rejected", REJECTED)
def test_rejected_rows_are_left_out_and_counted(rejected):
    rows = [TASKS["doccano"], rejected]
    assert [row["messages"] for row in read(rows, columns=COLUMNS)] == [PAIR]
    report = check(rows, columns=COLUMNS)
    assert report.counts["rejected"] == 1 and report.rows == 2
    with pytest.raises(BadData, match="rejected"):
        read([rejected], columns=COLUMNS)


def test_a_status_that_is_no_judgement_is_a_column():
    [row] = read([{"prompt": "Where is my order?", "completion": "On its way.", "status": "cancelled"}])
    assert row["columns"] == {"status": "cancelled"}


def test_annotators_who_differ_are_named():
    rows = [label_studio(LABEL, "praise"), label_studio(LABEL, LABEL)]
    assert messages(rows, columns=COLUMNS) == PAIR and check(rows, columns=COLUMNS).counts["other-answers"] == 1


def test_geminis_contents_are_messages():
    call = {"functionCall": {"name": "legs", "args": {"of": "horse"}}}
    response = {"functionResponse": {"name": "legs", "response": {"count": 4}}}
    row = {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": USER["content"]}]},
            {"role": "model", "parts": [{"text": THOUGHT, "thought": True}, call]},
            {"role": "user", "parts": [response]},
            {"role": "model", "parts": [{"text": "8 legs."}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "legs", "parameters": {"type": "OBJECT"}}]}],
    }
    [read_row] = read([row])
    [system, user, turn, result, answer] = read_row["messages"]
    assert [system, user, answer] == [BRIEF, USER, ANSWER] and codes([row]) <= {"not-renderable"}  # a template's affair
    assert turn["reasoning"] == THOUGHT and turn["tool_calls"][0]["function"]["arguments"] == {"of": "horse"}
    assert result == {"role": "tool", "name": "legs", "content": '{"count": 4}'}
    assert read_row["tools"] == [{"type": "function", "function": {"name": "legs", "parameters": {"type": "OBJECT"}}}]


def test_squad_in_both_its_shapes(tmp_path):
    question = {"question": "What is A?", "id": "1", "answers": [{"text": "B", "answer_start": 5}]}
    unanswered = {"question": "What is C?", "id": "2", "is_impossible": True, "answers": []}
    paragraphs = [{"context": "A is B.", "qas": [question, unanswered]}]
    (tmp_path / "squad.json").write_text(
        json.dumps({"version": "v2", "data": [{"title": "T", "paragraphs": paragraphs}]})
    )
    wanted = [{"role": "user", "content": "What is A?\n\nA is B."}, {"role": "assistant", "content": "B"}]
    flat = {"context": "A is B.", "question": "What is A?", "answers": {"text": ["B", "B"], "answer_start": [5, 5]}}
    assert [row["messages"] for row in read(tmp_path / "squad.json")] == [wanted] and messages([flat]) == wanted
    assert check(tmp_path / "squad.json").counts["rejected"] == 1
    assert check([{**flat, "answers": {"text": ["B", "the B"]}}]).counts["other-answers"] == 1


# --- one object that holds all rows -----------------------------------------------------------------------------------

PAIRS = [{"prompt": f"say {number}", "completion": f"It is {number}."} for number in range(5)]
HOLDERS = {
    "a key": {"version": "1.0", "data": PAIRS},
    "a key of its own": {"conversations_2024": PAIRS},
    "the data server": {"features": [{"name": "prompt"}], "rows": [{"row_idx": 0, "row": row} for row in PAIRS]},
    "columns": {name: [row[name] for row in PAIRS] for name in PAIRS[0]},
    "a frame": {name: {str(place): row[name] for place, row in enumerate(PAIRS)} for name in PAIRS[0]},
    "a frame by index": {str(place): row for place, row in enumerate(PAIRS)},
    "a frame, split": {"columns": [*PAIRS[0]], "index": [0, 1, 2, 3, 4], "data": [[*row.values()] for row in PAIRS]},
    "a list for each": [[row] for row in PAIRS],
}


@pytest.mark.parametrize("name", HOLDERS)
@pytest.mark.parametrize("indent", [None, 1])
def test_rows_within_one_object(name, indent, tmp_path):
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(HOLDERS[name], indent=indent))
    assert [row["messages"] for row in read(file)] == [row["messages"] for row in read(PAIRS)]
    report = check(file)
    assert report.code == 0 and report.rows == 5 and (name == "a list for each" or report.counts["unfolded"] == 1)


def test_keys_that_are_splits_and_keys_that_are_not(tmp_path):
    file = tmp_path / "rows.json"
    file.write_text(json.dumps({"train": PAIRS[:3], "dev": PAIRS[3:4], "test": PAIRS[4:], "about": "x"}))
    assert [row["split"] for row in read(file)] == ["train"] * 3 + ["validation", "test"]
    [told] = check(file).findings("unfolded")
    assert "Not read: about" in told["why"]
    file.write_text(json.dumps({"good": PAIRS[:3], "bad": PAIRS[3:]}))
    with pytest.raises(BadData, match="under several keys: good, bad"):
        read(file)


def test_token_ids_in_one_row_are_told_as_such(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps({"input_ids": [1, 2], "labels": [1, 2]}))
    with pytest.raises(BadData, match="Token ids instead of text"):
        read(tmp_path / "rows.json")


@pytest.mark.parametrize("row", [{"messages": [USER, ANSWER]}, {"prompt": [USER], "completion": [ANSWER]}, *PAIRS[:1]])
def test_a_file_of_one_row_is_that_row(row, tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps(row, indent=1))
    assert len(read(tmp_path / "rows.json")) == 1 and "unfolded" not in check(tmp_path / "rows.json").counts


# --- nulls that Arrow pads --------------------------------------------------------------------------------------------


def test_nulls_that_arrow_pads_are_no_content(tmp_path):
    """Structs of a column have the same keys: arguments of one call are padded with those of the others."""
    import datasets
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    def talk(arguments):
        call = {"type": "function", "function": {"name": "f", "arguments": arguments}}
        schema = {"name": "f", "parameters": {"properties": {name: {"type": "string"} for name in arguments}}}
        turn = {"role": "assistant", "content": "", "tool_calls": [call]}
        return {"messages": [USER, turn], "tools": [{"type": "function", "function": schema}]}

    rows = [talk({"city": "Lyon"}), talk({"lamp": "on", "room": "3"})]
    table = pa.Table.from_pylist(rows)
    assert table.to_pylist() != rows  # padded indeed
    pq.write_table(table, tmp_path / "x.parquet")
    plain = [{name: row[name] for name in ("messages", "tools")} for row in read(rows)]
    sources = [table, tmp_path / "x.parquet", pd.read_parquet(tmp_path / "x.parquet")]
    sources += [datasets.Dataset(table), datasets.DatasetDict({"train": datasets.Dataset(table)})]
    for source in sources:
        assert [{name: row[name] for name in ("messages", "tools")} for row in read(source)] == plain
    written = talk({"city": None})  # a null that a person wrote into JSON is an argument
    assert messages([written])[1]["tool_calls"][0]["function"]["arguments"] == {"city": None}


# --- what else was dropped --------------------------------------------------------------------------------------------


def test_a_switch_is_no_thought():
    """Nemotron's rows say ``reasoning: on``."""
    for value in ("on", "off", True, False):
        row = {"prompt": USER["content"], "completion": "8 legs.", "reasoning": value}
        assert messages([row]) == [USER, ANSWER] and codes([row]) == {"unknown-key"}


@pytest.mark.parametrize(
    "row, code",
    [
        ({"messages": [USER, {**ANSWER, "content": [{"type": "tool_use", "name": "f", "input": {}}]}]}, "tool-call"),
        ({"messages": [{"role": "user", "content": [{"toolResult": {}}]}, ANSWER]}, "tool-call"),
        ({"messages": [USER, ANSWER, {"role": "tool", "content": "x", "tool_call_id": 3}, ANSWER]}, "wrong-type"),
        ({"messages": [USER, {**ANSWER, "refusal": "No."}]}, "unknown-key"),
        ({"messages": [USER, {**ANSWER, "audio": {"id": "x"}}]}, "unknown-key"),
        ({"segments": [{"label": True, "text": "a", "lable": False}]}, "unknown-key"),
    ],
)
def test_what_is_in_a_turn_is_used_refused_or_named(row, code):
    assert code in codes([row])

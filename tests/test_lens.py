"""What the loss sees: the batch as it is, assertions that fail where something was planted, and runs refused."""

import json
import shutil
import subprocess
import sys

import pytest

from etabli.core.errors import BadData, BadInput, UnknownModel
from etabli.data.dataset import Dataset
from etabli.rendering import token_checks
from etabli.rendering.masks import POLICIES
from etabli.rendering.render import Renderer, render
from etabli.runs.recipe import Recipe
from etabli.training import batch_lens, train_data
from etabli.training.packing import MASKED
from etabli.training.tokenize_dataset import tokenize_rows
from etabli_widgets import MaskLens

CHATML = (
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n'}}{% endif %}"
)
NEVER_ENDS = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
THINKS_FIRST = CHATML.replace("assistant\n'}}{% endif", "assistant\n<think>\n'}}{% endif")
BEGINS_TWICE = "{{ bos_token }}" + CHATML
TELLS_THE_TIME = "{{ strftime_now('%f') }}" + CHATML


def talk(name="a", asked="Where is the harbour?", answer="North of the town.", **more):
    return {
        "id": name,
        "messages": [{"role": "user", "content": asked, **more}, {"role": "assistant", "content": answer}],
    }


def with_spans(row):
    """The row with its whole answer as a span."""
    answer = row["messages"][1]
    return {**row, "messages": [row["messages"][0], {**answer, "spans": [[0, len(answer["content"])]]}]}


@pytest.fixture
def model(tiny, tmp_path):
    """A model with another chat template."""

    def made(template):
        folder = tmp_path / "model"
        shutil.copytree(tiny, folder)
        (folder / "chat_template.jinja").write_text(template)
        return str(folder)

    return made


PLANTED = {
    "end-of-turn": (NEVER_ENDS, [talk()], {}),
    "one-bos": (BEGINS_TWICE, [talk()], {}),
    "user-not-trained": (CHATML, [with_spans(talk()), with_spans(talk("b", spans=[[0, 5]]))], {"train_on": "spans"}),
    "not-empty": (CHATML, [talk(), talk("long", "word " * 200)], {"max_length": 64}),
    "template-ids": (TELLS_THE_TIME, [talk()], {}),
    "generation-prompt": (THINKS_FIRST, [talk()], {}),
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_red_and_no_run_starts(name, model, tmp_path):
    template, rows, more = PLANTED[name]
    Dataset(rows).save(tmp_path / "data")
    recipe = Recipe(data=str(tmp_path / "data"), model=model(template), **more)
    seen = batch_lens.lens(recipe, loss=False)
    assert list(seen.view["failing"]) == [name] and seen.view["failed"][name][0][0] == rows[-1]["id"]
    assert "etabli-wrong" in seen.html() and name in seen.html() and name in repr(seen)
    recipe.save(tmp_path / "r.yaml")
    command = ["train", str(tmp_path / "r.yaml"), "--run", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-m", "etabli", *command], capture_output=True, text=True)
    assert done.returncode == 2 and f"{name}: 1 of {len(rows)} rows" in done.stderr + done.stdout
    assert token_checks.FIXES[name] in done.stderr + done.stdout


def test_end_of_text_that_is_begin_of_text_is_no_second_beginning(tokenizer):
    import copy

    one = copy.deepcopy(tokenizer)
    one.chat_template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + eos_token + '\n' }}{% endfor %}"
    one.bos_token = one.eos_token
    seen = render(talk()["messages"], one)
    said = {held.name: held.ok for held in token_checks.check_row(talk(), seen, Renderer(one), "answers", 512)}
    assert said["one-bos"] is True and said["end-of-turn"] is True


def test_nothing_is_wrong_with_what_is_right(model, tmp_path):
    Dataset([talk(), talk("b", "<|im_end|>", "Typed, <|im_start|> that is.")]).save(tmp_path / "data")
    seen = batch_lens.Batch(Recipe(data=str(tmp_path / "data"), model=model(CHATML)), loss=False).facts
    assert not seen["failing"]
    said = {row["id"]: {one["name"]: one["ok"] for one in row["assertions"]["answers"]} for row in seen["rows"]}
    assert all(said["a"].values())
    assert said["b"]["template-ids"] is None, "the template itself would forge what was typed there"


def test_empty_rows_are_left_out_if_that_is_asked_for(model, tmp_path, tokenizer):
    rows = [talk(), talk("long", "word " * 200)]
    Dataset(rows).save(tmp_path / "data")
    recipe = Recipe(data=str(tmp_path / "data"), model=model(CHATML), max_length=64, empty_rows="leave_out")
    made = train_data.load_train_data(recipe, tokenizer)
    assert [row.id for row in made.rows] == ["a"] and made.untrainable == ["long"]
    Dataset(rows[1:]).save(tmp_path / "none")
    with pytest.raises(BadData, match="not-empty: 1 of 1 rows"):
        train_data.load_train_data(Recipe(**recipe.keys() | {"data": str(tmp_path / "none")}), tokenizer)


# --- the batch --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def batch(dataset, tiny):
    return batch_lens.Batch(Recipe(data=str(dataset), model=tiny, gradient_accumulation_steps=2))


def test_the_batch_is_the_collators(batch, dataset, tiny, tokenizer):
    from etabli.training.packing import PackSampler

    recipe = Recipe(data=str(dataset), model=tiny, gradient_accumulation_steps=2)
    packs = PackSampler(train_data.load_train_data(recipe, tokenizer).rows, recipe).packs(1)
    rows = [row for pack in packs for row in pack]
    assert [row["id"] for row in batch.facts["rows"]] == [row.id for row in rows] and batch.facts["packs"] == 2
    for seen, row in zip(batch.facts["rows"], rows):
        assert seen["ids"] == row.ids
        assert seen["trained"]["answers"] == [at > 0 and label != MASKED for at, label in enumerate(row.labels)]


def test_offsets_are_where_the_texts_are(batch, dataset, tokenizer):
    by_id = {row["id"]: row for row in Dataset.open(dataset).rows}
    for row in batch.facts["rows"]:
        whole = tokenizer.apply_chat_template(by_id[row["id"]]["messages"], tokenize=False)
        assert all(whole[low:high].startswith(text) for (low, high), text in zip(row["offset"], row["text"]))
        assert "".join(row["text"]) == whole[: row["offset"][-1][1]]
        for number, start in row["starts"].items():
            content = by_id[row["id"]]["messages"][int(number)]["content"]
            assert whole[start : start + len(content)] == content


def test_the_loss_is_that_of_a_row_alone(batch, tiny):
    import torch

    from etabli.models import loading

    model = loading.load(tiny).model.eval()
    for row in batch.facts["rows"][:4]:
        ids = torch.tensor([row["ids"]])
        with torch.inference_mode():
            logits = model(ids).logits[0, :-1].float()
        alone = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
        assert row["nats"][0] is None and row["nats"][1:] == pytest.approx(alone.tolist(), abs=0.05)
    trained = [v for row in batch.facts["rows"] for v, flag in zip(row["nats"], row["trained"]["answers"]) if flag]
    assert batch.facts["policies"]["answers"]["loss"] == pytest.approx(sum(trained) / len(trained))


def test_each_policy_says_what_it_trains(batch):
    held = batch.facts["policies"]
    assert set(held) == set(POLICIES) and held["spans"]["trained"] == 0 and held["spans"]["loss"] is None
    assert held["last"]["trained"] <= held["answers"]["trained"] < held["all"]["trained"]


def test_spans_are_chosen_and_trained(dataset, tiny, tokenizer):
    batch = batch_lens.Batch(Recipe(data=str(dataset), model=tiny), loss=False)
    row = batch.facts["rows"][0]
    widget = MaskLens(batch.facts, batch)
    answer = max(number for number in row["message"] if number is not None)
    size = row["lengths"][str(answer)]
    assert widget.spans(row["id"], {answer: [[0, 3], [3, 9]]})["trained"] > 0 and widget.policy == "spans"
    messages = widget.messages(row["id"])
    assert messages[answer]["spans"] == [[0, 9]]
    seen = render(messages, tokenizer, "spans")
    trained = "".join(text for text, flag in zip(seen.text, seen.trained) if flag)
    assert messages[answer]["content"].startswith(trained[:9]) and "<|im_end|>" not in trained
    whole = widget.spans(row["id"], {answer: [[0, size]]})
    told = next(one for one in widget.view["rows"] if one["id"] == row["id"])
    assert told["trained"]["spans"] == told["trained"]["answers"] and whole["share"] > 0
    with pytest.raises(BadInput, match="not in this batch"):
        batch.choose("zz", {})


def test_rows_of_one_id_and_a_recipe_of_spans(tiny, tmp_path):
    rows = [
        talk("a"),
        talk("a", "Another?", "Another one."),
        {"id": "b", "messages": batch_lens.apply_spans(talk()["messages"], {1: [[0, 5]]})},
    ]
    Dataset(rows).save(tmp_path / "data")
    batch = batch_lens.Batch(Recipe(data=str(tmp_path / "data"), model=tiny), loss=False)
    assert {row["id"] for row in batch.facts["rows"]} == {"a", "a~2", "b"}
    spans = batch_lens.Batch(
        Recipe(data=str(tmp_path / "data"), model=tiny, train_on="spans", empty_rows="leave_out"), loss=False
    )
    before = spans.facts["policies"]["spans"]["trained"]
    assert spans.choose("b", {1: [[0, 18]]})["policies"]["spans"]["trained"] > before > 0


def test_spans_travel_with_the_row(tmp_path, tokenizer):
    messages = batch_lens.apply_spans(talk()["messages"], {1: [[0, 5]]})
    Dataset([{"id": "a", "messages": messages}, talk("b")]).save(tmp_path / "data")
    rows = Dataset.open(tmp_path / "data").rows
    assert rows[0]["messages"][1]["spans"] == [[0, 5]] and "spans" not in rows[1]["messages"][1]
    assert Dataset([talk("a")]).hash != Dataset([{"id": "a", "messages": messages}]).hash
    kept, empty, _ = tokenize_rows(rows, tokenizer, Recipe(data="x", train_on="spans"))
    assert [row.id for row in kept] == ["a"] and empty == ["b"]
    assert tokenizer.decode([label for label in kept[0].labels if label != MASKED]) == "North"


@pytest.mark.parametrize("spans", [[[0, 0]], [[2, 1]], [[0, 99]], [["a", 1]], [[1]], "ab", [[-1, 2]]])
def test_spans_that_make_no_sense(spans, tokenizer):
    messages = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "North.", "spans": spans}]
    with pytest.raises(BadData, match="Message 2: spans are pairs"):
        render(messages, tokenizer, "spans")


def test_spans_count_characters_that_a_template_takes_off(tokenizer):
    import copy

    trims = copy.deepcopy(tokenizer)
    trims.chat_template = CHATML.replace("m['content']", "m['content'] | trim")
    messages = [
        {"role": "user", "content": " Where? "},
        {"role": "assistant", "content": "  North of it.  ", "spans": [[2, 7]]},
    ]
    seen = render(messages, trims, "spans")
    assert "".join(text for text, flag in zip(seen.text, seen.trained) if flag) == "North"


def test_plain_text_is_chosen_in_spans_too(tokenizer):
    seen = render([{"role": "text", "content": "Once upon a time.", "spans": [[0, 4]]}], tokenizer, "spans")
    assert "".join(text for text, flag in zip(seen.text, seen.trained) if flag) == "Once"
    whole = render([{"role": "text", "content": "Once upon.", "spans": [[0, 10]]}], tokenizer, "spans")
    assert whole.trained[-1], "text trained to its end ends"


# --- without a browser, and bad input ---------------------------------------------------------------------------------


def etabli(*given):
    done = subprocess.run([sys.executable, "-m", "etabli", *map(str, given)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_the_command_gives_the_same_facts(dataset, tiny, batch):
    place = [row["id"] for row in Dataset.open(dataset).rows].index(batch.facts["rows"][0]["id"])
    code, out, _ = etabli("data", "tokens", dataset, "--row", place, "--model", tiny, "--loss", "--json")
    said, row = json.loads(out), batch.facts["rows"][0]
    assert code == 0 and said["ids"] == row["ids"] and said["offset"] == row["offset"]
    assert said["nats"][1:] == pytest.approx(row["nats"][1:], abs=0.05)
    assert [one["name"] for one in said["assertions"]] == list(token_checks.NAMES)


def test_the_command_ends_1_where_an_assertion_fails(write_jsonl, tiny):
    path = write_jsonl([{"prompt": "word " * 300, "completion": "Yes."}])
    code, out, _ = etabli("data", "tokens", path, "--model", tiny, "--max-length", 64)
    assert code == 1 and "not-empty" in out and "FAILS" in out


@pytest.fixture
def tokenizer_alone(tiny, tmp_path):
    """A folder with a tokenizer, and neither weights nor the model's configuration."""
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy2(f"{tiny}/{name}", folder / name)
    return str(folder)


def test_without_losses_a_folder_with_a_tokenizer_will_do(tokenizer_alone, tiny, tmp_path):
    row = talk()
    alone = batch_lens.describe_tokens(row, tokenizer_alone, "answers", 512)
    assert alone == batch_lens.describe_tokens(row, tiny, "answers", 512)
    Dataset([row]).save(tmp_path / "data")
    seen = batch_lens.Batch(Recipe(data=str(tmp_path / "data"), model=tokenizer_alone), loss=False).facts
    assert seen["rows"][0]["ids"] == alone["ids"]
    with pytest.raises(UnknownModel, match=r"no config\.json"):
        batch_lens.describe_tokens(row, tokenizer_alone, "answers", 512, loss=True)


def test_a_token_without_a_row_in_the_embedding_is_refused_before_training(tiny, tmp_path, dataset):
    from transformers import AutoTokenizer

    folder = tmp_path / "lamps"
    shutil.copytree(tiny, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<lamp>", "<room>"])
    tokenizer.save_pretrained(folder)
    Recipe(data=str(dataset), model=str(folder), max_steps=1).save(tmp_path / "r.yaml")
    code, out, error = etabli("train", tmp_path / "r.yaml", "--run", tmp_path / "run")
    assert code == 2 and "ids up to 49153" in out + error and "'<lamp>', '<room>' have none" in out + error
    assert "resize_token_embeddings" in out + error


def test_a_step_that_is_not_there(dataset, tiny):
    with pytest.raises(BadInput, match="there is no step 9999"):
        batch_lens.Batch(Recipe(data=str(dataset), model=tiny), step=9999, loss=False)


def test_another_policy_from_code(batch):
    widget = MaskLens(batch.facts)
    assert widget.pick("all")["share"] > 0.9 and "all trains" in repr(widget)
    with pytest.raises(ValueError, match="no policy"):
        widget.pick("most")
    widget.received({"type": "spans", "row": "a", "spans": {}})
    assert "etabli.lens" in widget.error

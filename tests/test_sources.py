"""Where rows come from: mapping files of other trainers, folders, shards, globs, number signs, the Hub's layout."""

import contextlib
import hashlib
import json

import pytest

from etabli.checks.check import check
from etabli.core.errors import BadData, OutsideFolder
from etabli.data.dataset import Dataset
from etabli.data.reading.source import read

FLAGS = {
    "messages": [
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "5", "keep": False},
        {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": "No, it is 4.", "keep": True},
    ]
}
PAIRS = [{"prompt": f"say {number}", "completion": f"It is {number}."} for number in range(10)]


def write_rows(path, rows):
    """Write rows as JSONL, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def contents(rows):
    """What is said in each row."""
    return [[message["content"] for message in row["messages"]] for row in rows]


# --- axolotl ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def axolotl(tmp_path):
    """A function that writes a config with one entry, and returns its path."""
    write_rows(tmp_path / "flags.jsonl", [FLAGS])

    def config(text="", path="flags.jsonl", top="base_model: x\n", kind="chat_template"):
        lines = [f"path: {path}", f"type: {kind}", *text.splitlines()]
        (tmp_path / "config.yaml").write_text(f"{top}datasets:\n  - " + "\n    ".join(lines) + "\n")
        return tmp_path / "config.yaml"

    return config


def trained(source):
    """The marks of the first row's turns."""
    return [message.get("train") for message in read(source)[0]["messages"]]


def test_axolotls_marks_and_roles_are_carried_out(axolotl):
    assert trained(axolotl("message_field_training: keep\ntrain_on_eos: turn")) == [None, False, None, True]
    assert trained(axolotl("message_field_training: keep\nroles_to_train: []")) == [None, False, None, True]
    assert trained(axolotl("roles_to_train: []")) == [None, False, None, False]
    assert trained(axolotl('roles_to_train: ["assistant"]')) == [None] * 4
    assert trained(axolotl('roles_to_train: ["human", "gpt"]')) == [True] * 4
    assert "nothing-trained" in check(axolotl("roles_to_train: []")).counts
    assert "unknown-key" not in check(axolotl("message_field_training: keep")).counts


def test_axolotls_fields_are_carried_out(axolotl, tmp_path):
    turns = [{"who": "person", "said": "a"}, {"who": "machine", "said": "b", "why": "c"}]
    write_rows(tmp_path / "talk.jsonl", [{"turns": turns, "persona": "Be brief."}])
    fields = "field_messages: turns\nfield_system: persona\nfield_thinking: why\n"
    fields += "message_field_role: who\nmessage_field_content: said\nroles: {user: [person], assistant: [machine]}"
    [row] = read(axolotl(fields, "talk.jsonl"))
    assert contents([row]) == [["Be brief.", "a", "b"]] and row["messages"][2]["reasoning"] == "c"
    write_rows(tmp_path / "qa.jsonl", [{"question": "a", "answer": "b"}])
    assert contents(read(axolotl("", "qa.jsonl", kind="alpaca_chat.load_qa"))) == [["a", "b"]]
    write_rows(tmp_path / "alpaca.jsonl", [{"q": "a", "more": "b", "a": "c"}])
    fields = "field_instruction: q\nfield_input: more\nfield_output: a"
    assert contents(read(axolotl(fields, "alpaca.jsonl", kind="alpaca"))) == [["a\n\nb", "c"]]


def test_axolotls_data_files(axolotl, tmp_path):
    for number in range(2):
        write_rows(tmp_path / "fr" / f"{number}.jsonl", [FLAGS])
    assert len(read(axolotl("data_files: flags.jsonl", "json"))) == 1
    assert len(read(axolotl("data_files: fr/*.jsonl\nds_type: json", "json"))) == 2
    assert len(read(axolotl('data_files: ["0.jsonl"]', "fr"))) == 1
    with pytest.raises(BadData, match="which is no file"):
        read(axolotl("data_files: no.jsonl", "json"))
    (tmp_path.parent / "outside.jsonl").write_text(json.dumps(FLAGS))
    with pytest.raises(OutsideFolder):
        read(axolotl("data_files: ../outside.jsonl", "json"))


REFUSED = {
    "train_on_eos: all": "train_on_eos 'all'",
    "shards: 4": "shards 4",
    "split: test": "split 'test'",
    "revision: v2": "revision 'v2'",
    "name: french": "name 'french'",
    "chat_template: chatml": "the model's own template is used",
    "trust_remote_code: true": "never run",
    "drop_system_message: true": "drop_system_message True",
    "message_field_training_detail: x": "Known keys",
    "field_nonsense: x": "Known keys",
    "roles_to_train: 3": "a text, or a list of texts",
    "message_property_mappings: {weight: w}": "role and content are mapped",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_not_carried_out_of_axolotl_is_refused(text, axolotl):
    with pytest.raises(BadData, match="which is not done here") as error:
        read(axolotl(text))
    assert REFUSED[text] in str(error.value)
    assert check(axolotl(text)).code == 2


def test_axolotls_types_and_its_config_beside_the_data(axolotl):
    for kind in ("alpaca_chat.load_other", "nonsense", "context_qa"):
        with pytest.raises(BadData, match="is not known; known are alpaca"):
            read(axolotl(kind=kind))
    with pytest.raises(BadData, match="a format of its own"):
        read(axolotl(kind="{format: '[INST]'}"))
    with pytest.raises(BadData, match="train_on: all"):
        read(axolotl(top="train_on_inputs: true\n"))
    [told] = check(axolotl(top="base_model: x\nchat_template: chatml\n")).findings("unread-keys")
    assert "base_model, chat_template" in told["why"]


def test_axolotls_hub_keys_reach_the_hub(axolotl, tmp_path):
    from etabli.data.reading.hub import HubSet
    from etabli.data.reading.mappings import read_entry

    text = "name: french\nrevision: v2\nsplit: train[:10%]\ndata_files: [fr/*.json]"
    entry = read_entry(axolotl(text, "some-org/some-set", kind="alpaca"))
    assert entry.hub == HubSet("some-org/some-set", "french", "v2", ("fr/*.json",), "train[:10%]")
    for name in ("/etc/hosts.json", "../x.json", "https://x/y.json"):
        with pytest.raises(OutsideFolder, match="no file of the data set"):
            read(axolotl(f"data_files: ['{name}']", "some-org/some-set"))


# --- LLaMA-Factory ----------------------------------------------------------------------------------------------------


@pytest.fixture
def factory(tmp_path):
    """A function that writes a ``dataset_info.json`` with one entry, and returns its path."""
    write_rows(tmp_path / "rows.jsonl", [{"q": "a", "more": "b", "a": "c", "pics": ["x.png"], "fns": "[]"}])

    def info(**entry):
        (tmp_path / "dataset_info.json").write_text(json.dumps({"mine": {"file_name": "rows.jsonl", **entry}}))
        return tmp_path / "dataset_info.json"

    return info


def test_llama_factorys_keys_are_carried_out(factory, tmp_path):
    columns = {"prompt": "q", "query": "more", "response": "a"}
    assert contents(read(factory(columns=columns))) == [["a\n\nb", "c"]]
    with pytest.raises(BadData, match="comes with images"):
        read(factory(columns={**columns, "images": "pics"}))
    digest = hashlib.sha1((tmp_path / "rows.jsonl").read_bytes(), usedforsecurity=False).hexdigest()
    assert len(read(factory(columns=columns, file_sha1=digest))) == 1
    with pytest.raises(BadData, match="has the sha1"):
        read(factory(columns=columns, file_sha1="0" * 40))
    write_rows(tmp_path / "rows.jsonl", [{"talk": FLAGS["messages"]}])
    for formatting in ({"formatting": "openai"}, {"formatting": "openai", "tags": {"user_tag": "person"}}):
        assert len(read(factory(**formatting, columns={"messages": "talk"}))[0]["messages"]) == 4
    write_rows(tmp_path / "rows.jsonl", [FLAGS])
    assert len(read(factory(formatting="openai"))[0]["messages"]) == 4


def test_llama_factorys_ranked_rows_keep_every_column(factory, tmp_path):
    row = {"q": "a", "more": "b", "s": "Be brief.", "good": "c", "bad": "d", "thumb": True}
    write_rows(tmp_path / "rows.jsonl", [row])
    columns = {"prompt": "q", "query": "more", "system": "s"}
    ranked = factory(ranking=True, columns={**columns, "chosen": "good", "rejected": "bad"})
    with pytest.raises(BadData, match="Preference data"):
        read(ranked)
    assert contents(read(ranked, format="preferred")) == [["Be brief.", "a\n\nb", "c"]]
    thumbs = factory(columns={**columns, "response": "good", "kto_tag": "thumb"})
    assert contents(read(thumbs, format="preferred")) == [["Be brief.", "a\n\nb", "c"]]


@pytest.mark.parametrize(
    "entry, why",
    [
        ({"num_samples": 10}, "num_samples 10"),
        ({"folder": "x"}, "folder 'x'"),
        ({"subset": "fr"}, "subset 'fr'"),
        ({"split": "test"}, "split 'test'"),
        ({"formatting": "nonsense"}, "known are alpaca, sharegpt and openai"),
        ({"columns": {"prompt": "q", "answer": "a"}}, "the column answer 'a'"),
        ({"formatting": "sharegpt", "tags": {"rolle": "x"}}, "the tag rolle 'x'"),
        ({"collums": {}}, "Known keys"),
    ],
)
def test_what_is_not_carried_out_of_llama_factory_is_refused(entry, why, factory):
    with pytest.raises(BadData, match="which is not done here") as error:
        read(factory(**entry))
    assert why in str(error.value)


def test_a_folder_with_a_mapping_file_is_asked_which_of_its_sets(factory, tmp_path):
    factory()
    with pytest.raises(BadData, match=r"holds 1 data sets: name one, as .*dataset_info.json#mine"):
        read(tmp_path)


# --- folders, shards, globs, number signs -----------------------------------------------------------------------------

README = """---
configs:
- config_name: {name}
  data_files:
  - split: train
    path: "data/train-*.jsonl"
  - split: test
    path: "data/test-*.jsonl"
---
# a set
"""


@pytest.fixture
def layout(tmp_path):
    """A folder in the Hub's layout: two shards to train on, one to test with."""
    folder = tmp_path / "set"
    write_rows(folder / "data" / "train-00000-of-00002.jsonl", PAIRS[:4])
    write_rows(folder / "data" / "train-00001-of-00002.jsonl", PAIRS[4:8])
    write_rows(folder / "data" / "test-00000-of-00001.jsonl", PAIRS[8:])
    return folder


@pytest.mark.parametrize("readme", [True, False])
def test_a_folder_in_the_hubs_layout(readme, layout):
    if readme:
        (layout / "README.md").write_text(README.format(name="default"))
    for data in (Dataset.open(layout), Dataset(read(layout))):
        assert contents(data.part("train")) == contents(read(PAIRS[:8]))
        assert contents(data.part("test")) == contents(read(PAIRS[8:])) and len(data) == 10
    assert set(Dataset.open(layout).recipe["files"]) >= {"data/train-00000-of-00002.jsonl"}
    report = check(layout, workers=2)
    assert report.rows == 10 and report.code == 0


def test_shards_by_glob_alone_or_with_one_missing(layout):
    pattern = str(layout / "data" / "train-*.jsonl")
    assert contents(Dataset.open(pattern).rows) == contents(read(PAIRS[:8])) and check(pattern).code == 0
    assert len(Dataset.open("data/train-*.jsonl", layout / "runs" / "x").rows) == 8
    first = layout / "data" / "train-00000-of-00002.jsonl"
    [told] = check(first).findings("shards")
    assert "1 of 2 shards are not read" in told["why"] and "train-*-of-00002.jsonl" in told["why"]
    with pytest.raises(BadData, match="No file matches"):
        read(str(layout / "none-*.jsonl"))
    first.unlink()
    with pytest.raises(BadData, match=r"lacks 1 of 2 shards, the first is train-00000-of-00002\.jsonl"):
        read(layout)


def test_a_strangers_glob_or_folder_names_only_what_lies_near(layout, tmp_path):
    """A recipe of a stranger's run may name files of its project; others only by the hash of their content."""
    from etabli.runs.run_data import open_rows_of_run

    near, far = tmp_path / "set" / "runs" / "x", tmp_path / "other" / "project" / "runs" / "x"
    for run in (near, far):
        run.mkdir(parents=True)
    for name in ("data/train-*.jsonl", str(layout / "data"), str(layout / "data" / "train-*.jsonl")):
        assert len(open_rows_of_run(name, near, None)) in (8, 10)
    for name in (str(layout), str(layout / "data" / "train-*.jsonl")):
        with pytest.raises(OutsideFolder):
            open_rows_of_run(name, far, None)
        known_hash = Dataset.open(name).hash
        assert open_rows_of_run(name, far, known_hash).hash == known_hash


def test_a_backup_takes_along_the_files_of_a_glob_and_a_number_sign(layout, tmp_path):
    from etabli.runs.backup import make_backup
    from etabli.runs.recipe import Recipe

    sign, said, backups = write_rows(tmp_path / "rows #1.jsonl", PAIRS[:3]), [], {}
    for number, data in enumerate(("data/train-*.jsonl", "../rows #1.jsonl")):
        run = layout / f"run{number}"
        run.mkdir()
        for name in ("recipe.yaml", "events.jsonl"):
            (run / name).write_text("")
        backups[data] = make_backup(run, Recipe(data=data, backup=str(tmp_path / f"drive{number}")), said.append)
        backups[data].close()
    for original in (sign, *(layout / "data").iterdir()):
        original.unlink()
    assert [len(Dataset.open(data, kept.folder)) for data, kept in backups.items()] == [8, 3], said


def test_rows_of_several_files_are_numbered_on_and_named_with_their_file(layout):
    with (layout / "data" / "train-00001-of-00002.jsonl").open("a") as file:
        file.write('{"prompt": "x"}\n')
    with pytest.raises(BadData, match=r"train-00001-of-00002.jsonl, line 5: There is no 'completion'"):
        read(layout)
    [found] = check(layout).findings("missing-key")
    assert found["line"] == 5 and found["row"] == 10 and found["why"].startswith("train-00001-of-00002.jsonl: ")


def test_other_layouts(tmp_path):
    for name in ("train.csv", "Validation.csv", "my_test_set.csv"):
        (tmp_path / name).write_text(f"prompt,completion\n{name},b\n")
    (tmp_path / "README.md").write_text("# no front matter\n")
    (tmp_path / "LICENSE.txt").write_text("x")
    assert {row["messages"][0]["content"]: row["split"] for row in read(tmp_path)} == {
        **{"train.csv": "train", "Validation.csv": "validation", "my_test_set.csv": "test"}
    }


def test_a_data_set_that_was_saved_to_disk(tmp_path):
    import datasets

    parts = {"train": datasets.Dataset.from_list(PAIRS[:6]), "test": datasets.Dataset.from_list(PAIRS[6:])}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    data = Dataset.open(tmp_path / "saved")
    assert (len(data.part("train")), len(data.part("test"))) == (6, 4)


def test_configurations_are_listed_and_chosen(layout, monkeypatch):
    text = README.format(name="french") + README.format(name="english")
    both = text.replace("---\n# a set\n---\nconfigs:\n", "")
    (layout / "README.md").write_text(both.replace("---\n# a set\n", "---\n"))
    with pytest.raises(BadData, match=r"the configurations french, english: name one, as .*set#french"):
        read(layout)
    assert len(read(f"{layout}#english")) == 10 and len(Dataset.open(f"{layout}#french")) == 10
    with pytest.raises(BadData, match="no configuration 'german'; it has french, english"):
        read(f"{layout}#german")


@pytest.mark.parametrize("pattern", ["../outside.jsonl", "/etc/*.json"])
def test_a_readme_leads_out_of_no_folder(pattern, layout):
    write_rows(layout.parent / "outside.jsonl", PAIRS)
    (layout / "README.md").write_text(f"---\nconfigs:\n- data_files: '{pattern}'\n---\n")
    with pytest.raises(OutsideFolder):
        read(layout)


def test_a_link_leads_out_of_no_folder(layout):
    outside = write_rows(layout.parent / "outside.jsonl", PAIRS)
    (layout / "data" / "train-more.jsonl").symlink_to(outside)
    with pytest.raises(OutsideFolder):
        read(layout)


def test_a_number_sign_in_a_path_is_part_of_it(tmp_path):
    from etabli.runs.launch import check_recipe
    from etabli.runs.recipe import Recipe

    for name in ("rows #1.jsonl", "proj#2/rows.jsonl"):
        file = write_rows(tmp_path / name, PAIRS)
        assert len(Dataset.open(file)) == len(read(file)) == check(file).rows == 10
    info = tmp_path / "proj#2" / "dataset_info.json"
    info.write_text(json.dumps({name: {"file_name": "rows.jsonl"} for name in ("a", "b")}))
    assert len(Dataset.open(f"{info}#b")) == 10
    check_recipe(Recipe(data=str(tmp_path / "rows #1.jsonl")))


# --- the Hub ----------------------------------------------------------------------------------------------------------


def test_the_package_reads_parts_and_asks_for_a_configuration(layout):
    """The package ``datasets`` itself, on a folder that lies here as the Hub would give it."""
    import datasets

    from etabli.data.reading.hub import HubSet, stream_set

    (layout / "README.md").write_text(README.format(name="default"))
    notes = []
    records = list(stream_set(HubSet(str(layout)), datasets, notes))
    assert [record.split for record in records] == ["train"] * 8 + ["test"] * 2 and notes == []
    assert [record.row for record in records] == list(range(10))
    only = list(stream_set(HubSet(str(layout), split="test"), datasets, notes))
    assert [record.value for record in only] == PAIRS[8:]
    both = README.format(name="french").split("---\n# a set")[0] + README.format(name="english").split("configs:\n")[1]
    (layout / "README.md").write_text(both)
    with pytest.raises(BadData, match=r"the configurations french, english: name one, as .*#french"):
        list(stream_set(HubSet(str(layout)), datasets, notes))
    assert len(list(stream_set(HubSet(str(layout), "english"), datasets, notes))) == 10
    with pytest.raises(BadData, match="no configuration 'german'; it has french, english"):
        list(stream_set(HubSet(str(layout), "german"), datasets, notes))


def test_parts_that_are_no_split_are_named():
    import datasets

    parts = {name: datasets.Dataset.from_list(PAIRS[:2]) for name in ("train", "unsupervised")}
    report = check(datasets.DatasetDict(parts))
    assert report.rows == 2 and "unsupervised" in next(report.findings("left-out-parts"))["why"]


@pytest.mark.parametrize("kind", ["rows.jsonl", "rows.jsonl.gz", "rows.json", "rows.csv", "rows.parquet", "empty.json"])
def test_every_file_is_closed(kind, tmp_path, recwarn):
    """Read to the end, refused, or only begun: no file stays open."""
    import gc
    import gzip

    import pandas as pd

    from etabli.data.reading.source import open_source

    file, frame = tmp_path / kind, pd.DataFrame(PAIRS * 200)
    writers = {
        "rows.csv": lambda: frame.to_csv(file, index=False),
        "rows.parquet": lambda: frame.to_parquet(file),
        "rows.json": lambda: file.write_text(json.dumps(PAIRS * 200)),
        "rows.jsonl": lambda: write_rows(file, PAIRS * 200),
        "rows.jsonl.gz": lambda: file.write_bytes(gzip.compress("\n".join(map(json.dumps, PAIRS * 200)).encode())),
        "empty.json": lambda: file.write_text(""),
    }
    writers[kind]()
    for action in (read, check, open_source, lambda path: read(path, format="chat")):
        with contextlib.suppress(BadData):
            action(file)
    gc.collect()
    assert not [warning for warning in recwarn if warning.category is ResourceWarning and kind in str(warning.message)]


def test_rows_with_other_columns_come_by_the_command_line_to_a_dataset(tmp_path, capsys, monkeypatch):
    """The command that a refusal gives reads the rows, and what it writes can be trained on."""
    from etabli.app.cli import run_command

    monkeypatch.chdir(tmp_path)
    rows = [{"text": f"Film {n}", "label": n % 2, "status": "rejected" if n == 3 else "accepted"} for n in range(6)]
    write_rows(tmp_path / "films.jsonl", rows)
    with pytest.raises(BadData, match="--column prompt=text --column completion=label"):
        read("films.jsonl")
    options = ["--column", "prompt=text", "--column", "completion=label", "--out", "films", "--licence", "MIT"]
    assert run_command(["data", "read", "films.jsonl", *options, "--json"], False) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == 5 and told["left_out"] == {"rejected": 1}
    data = Dataset.open("films")
    assert contents(data.rows)[0] == ["Film 0", "0"] and {row["licence"] for row in data.rows} == {"MIT"}
    assert run_command(["data", "read", "films.jsonl", "--format", "text", "--out", "texts"], False) == 0
    assert "left out: 1 row (rejected)" in capsys.readouterr().out


def test_a_check_says_how_far_it_is(tmp_path, capfd):
    from etabli.app.cli import run_command

    seen = []
    report = check(write_rows(tmp_path / "rows.jsonl", PAIRS * 60), progress=seen.append)
    assert seen[-1] == report.rows == 600 and seen == sorted(seen) and len(seen) > 1
    run_command(["data", "check", str(tmp_path / "rows.jsonl"), "--json"], False)
    told = capfd.readouterr()
    assert "rows.jsonl: reading" in told.err and json.loads(told.out)["rows"] == 600


def test_files_of_a_folder_that_are_not_read_are_named(layout):
    for name in ("notes.txt", "table.xlsx", "README.md", ".hidden.jsonl"):
        (layout / name).write_text("x")
    [told] = check(layout).findings("left-out-parts")
    assert told["why"] == "2 files of the folder are not read: notes.txt, table.xlsx."

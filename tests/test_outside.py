"""Nothing that is read, copied or written leaves its folder: links, hard links, pipes, devices, names that climb.

The bytes of a canary outside of a hostile folder may occur in no output, no file and no event.
"""

import contextlib
import io
import json
import os
import shutil
import stat
import zipfile
from pathlib import Path

import pytest

import etabli
from etabli.app.cli import main
from etabli.core import folders, journal, json_lines, storage
from etabli.core.contracts import EVENTS, LOG, RECIPE, RESULTS, STOP
from etabli.core.errors import BadInput, Damaged, NoSpace, OutsideFolder, Unreadable
from etabli.data.dataset import Dataset
from etabli.exports import merge
from etabli.runs import backup, checkpoints
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run

CANARY = "canary-in-a-private-file"
ROWS = [{"prompt": f"{CANARY} {at}", "completion": "ok"} for at in range(3)]


@pytest.fixture
def canary(tmp_path_factory):
    """A private folder of the person, no neighbour of any run: rows, a text, and a folder to write into."""
    place = tmp_path_factory.mktemp("private") / "deep" / "down"
    place.mkdir(parents=True)
    (place / "text").write_text(f"{CANARY}\n")
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return place


@pytest.fixture(scope="module")
def results(runs):
    """What an evaluation of the run found, made once."""
    return etabli.evaluate(runs / "changed", limit=2, max_new_tokens=2, save=False)


@pytest.fixture
def hostile(runs, results, tmp_path, no_owner):
    """A copy of a run that was trained and evaluated, with the data beside it; a test plants something in it."""
    project = tmp_path / "stranger" / "project"
    shutil.copytree(runs / "changed", project / "run")
    shutil.copytree(runs / "data", project / "data")
    storage.write_json(project / "run" / RESULTS, results)
    return project / "run"


def command(*words):
    """Run a command in this process: its exit code, and all that it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            main([str(word) for word in words])
        except SystemExit as done:
            return done.code, out.getvalue()
    raise AssertionError("main always leaves")


def all_bytes(folder):
    """Everything that ordinary files below a folder hold; links are not followed."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path, path.read_bytes()


# --- names ----------------------------------------------------------------------------------------------------------

OUTSIDE = [
    "../x",
    "a/../../x",
    "..",
    "/etc/passwd",
    "C:x",
    "C:\\x",
    "\\\\host\\x",
    "..\\x",
    "a\\b",
    "a\0b",
    "/",
    "a/..",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_outside(tmp_path, name):
    with pytest.raises(OutsideFolder):
        folders.resolve_inside(tmp_path, name)


def test_names_within(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    assert folders.resolve_inside(tmp_path, "a/b.txt") == tmp_path.resolve() / "a" / "b.txt"
    assert folders.resolve_inside(tmp_path, "link/c") == tmp_path.resolve() / "a" / "c"
    assert folders.resolve_inside(tmp_path / "link", "c") == tmp_path.resolve() / "a" / "c", (
        "what was named may be a link"
    )
    assert folders.resolve_inside(tmp_path, "not..climbing") and folders.resolve_inside(tmp_path, "...")


# --- what lies in a folder ------------------------------------------------------------------------------------------


def link_to(target):
    return lambda path: path.symlink_to(target)


def device(path):
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # as /dev/zero
    except OSError as error:
        pytest.skip(f"no device can be made: {error}")


PLANTED = {
    "a link outside": link_to("/etc/hostname"),
    "a link up": link_to("../../../outside"),
    "a link to a folder": link_to("/etc"),
    "a link to nothing yet": link_to("/tmp/etabli-not-there/x"),
    "a circle": lambda path: path.symlink_to(path.name),
    "a link to a device": link_to("/dev/zero"),
    "a pipe": os.mkfifo,
    "a device": device,
}


@pytest.mark.parametrize("kind", PLANTED)
def test_what_is_no_file_of_the_folder(tmp_path, kind):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").write_text("a")
    PLANTED[kind](tmp_path / "sub" / "x")
    with pytest.raises(OutsideFolder, match="x"):
        folders.list_files(tmp_path)
    with pytest.raises(OutsideFolder):
        folders.resolve_inside(tmp_path, "sub/x")
    with pytest.raises(OutsideFolder):
        folders.copy_files(tmp_path, tmp_path.parent / "copy")
    assert not (tmp_path.parent / "copy").exists(), "all is looked at before anything is copied"


def test_a_hard_link_to_anothers_file(tmp_path):
    if os.geteuid():
        pytest.skip("only root gives files away")
    for path in (tmp_path / "mine", tmp_path / "others"):
        path.write_text("x")
    os.link(tmp_path / "mine", tmp_path / "mine-too")
    assert len(folders.list_files(tmp_path)) == 3
    os.chown(tmp_path / "others", 12345, -1)
    assert len(folders.list_files(tmp_path)) == 3, "a file of another owner is common; a second name of it is not"
    os.link(tmp_path / "others", tmp_path / "others-too")
    with pytest.raises(OutsideFolder, match="hard links"):
        folders.list_files(tmp_path)


def test_the_hubs_cache_is_made_of_links(tmp_path):
    """The layout that huggingface_hub writes, and the same layout used to leave."""
    blobs, snapshot = tmp_path / "models--a--b" / "blobs", tmp_path / "models--a--b" / "snapshots" / "123"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (blobs / "cafe").write_text("weights")
    (snapshot / "model.json").symlink_to("../../blobs/cafe")
    assert folders.resolve_inside(snapshot, "model.json") == (blobs / "cafe").resolve()
    assert folders.list_files(snapshot) == [snapshot / "model.json"]
    forged = tmp_path / "forged" / "snapshots" / "123"
    forged.mkdir(parents=True)
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "key").write_text(CANARY)
    (tmp_path / "forged" / "blobs").symlink_to(tmp_path / "private")
    (forged / "key").symlink_to("../../blobs/key")
    with pytest.raises(OutsideFolder):
        folders.resolve_inside(forged, "key")


def test_a_link_put_there_after_looking_is_not_followed(tmp_path):
    (tmp_path / "a").write_text("a")
    source = folders.resolve_inside(tmp_path, "a")
    source.unlink()
    source.symlink_to("/etc/hostname")
    with pytest.raises(OSError, match=r"symbolic|Too many"):
        folders.open_file(source, follow=False)


# --- manifests, copies, journals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../private", "/etc/hostname", "link"])
def test_a_manifest_speaks_of_its_own_files_alone(tmp_path, name):
    with storage.write_folder(tmp_path / "x") as folder:
        (folder / "a").write_text("a")
    (tmp_path / "private").write_text(CANARY)
    (tmp_path / "x" / "link").symlink_to(tmp_path / "private")
    manifest = tmp_path / "x" / storage.MANIFEST
    facts = json.loads(manifest.read_text())
    outside = tmp_path / "x" / name if not name.startswith("/") else Path(name)
    facts["files"][name] = {"size": outside.stat().st_size, "sha256": storage.sha256(outside)}
    manifest.write_text(json.dumps(facts))
    with pytest.raises(Damaged, match="outside of it"):
        storage.verify(tmp_path / "x")


def test_a_journal_is_not_written_through_a_link(tmp_path):
    (tmp_path / "shell.rc").write_text("before\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "votes.jsonl").symlink_to(tmp_path / "shell.rc")
    book = journal.Journal(tmp_path / "folder" / "votes.jsonl", lambda line: True)
    for act in (lambda: book.add(journal.new_entry()), book.all):
        with pytest.raises(OutsideFolder):
            act()
    assert (tmp_path / "shell.rc").read_text() == "before\n"


def test_living_files_of_a_replaced_folder_are_no_links(tmp_path):
    (tmp_path / "private").write_text(CANARY)
    with storage.write_folder(tmp_path / "x") as folder:
        (folder / "a").write_text("a")
    (tmp_path / "x" / "living").symlink_to(tmp_path / "private")
    with pytest.raises(OutsideFolder), storage.write_folder(tmp_path / "x", living=("living",)) as folder:
        (folder / "a").write_text("b")
    assert (tmp_path / "x" / "a").read_text() == "a"
    assert [data for path, data in all_bytes(tmp_path / "x") if CANARY.encode() in data] == []


def test_a_log_that_never_ends_is_not_read(tmp_path):
    with (tmp_path / EVENTS).open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(Damaged, match="more than établi ever writes"):
        json_lines.read_lines(tmp_path / EVENTS)


# --- every command over a hostile run -------------------------------------------------------------------------------

# Each reads or writes in the run folder {run}; {out} is a place for what it makes.
COMMANDS = [
    "evaluate {run} --limit 1 --max-new-tokens 1",
    "evaluate {run} --from-log",
    "compare {run} {other} --limit 1",
    "compare {other} {run} --limit 1",
    "chat {run}",
    "chat {run} hello --max-new-tokens 1",
    "arena {run} --look",
    "arena {run} --prompts {prompts} --look",
    "token-diff {run}",
    "film {run}",
    "film {run} --pin 1",
    "export {run} --out {out}",
    "export {run} --to merged --out {out}",
    "memory {run}",
    "overlay {run} --out {out}",
    "resume {run} --detach",
    "stop {run}",
    "runs {parent}",
]
FROM_SAVED = ("evaluate {run} --from-log", "arena {run} --look")  # these read results.json and votes/ alone
PLACES = [
    RECIPE,
    "process.json",
    EVENTS,
    LOG,
    RESULTS,
    "token_diff.json",
    "chat.jsonl",
    "pins.jsonl",
    STOP,
    "lock",
    "votes",
    "arena",
    "adapter/README.txt",
    "adapter/adapter_config.json",
    "adapter",
    "checkpoints",
    "evaluating.json",
    "anything",
]


def over(hostile, runs, out, line):
    (out / "prompts").write_text("Hello?\n")
    names = {"run": hostile, "other": runs / "other", "parent": hostile.parent, "prompts": out / "prompts"}
    return command(*line.format(**names, out=out / "made").split())


@pytest.mark.parametrize("place", PLACES)
def test_every_command_refuses_a_run_with_a_link_that_leads_out(runs, hostile, canary, tmp_path, place):
    shutil.rmtree(hostile / place) if (hostile / place).is_dir() else (hostile / place).unlink(missing_ok=True)
    private = canary if "." not in place else canary / "text"
    (hostile / place).symlink_to(private)
    before = sorted((path, path.read_bytes()) for path in canary.iterdir())
    (tmp_path / "out").mkdir()
    for line in COMMANDS:
        code, printed = over(hostile, runs, tmp_path / "out", line)
        assert CANARY not in printed and "Traceback" not in printed, (line, printed)
        if line not in FROM_SAVED or place == RESULTS:
            assert code == (0 if line.startswith("runs") else 2) and "leads out of" in printed, (line, printed)
    assert sorted((path, path.read_bytes()) for path in canary.iterdir()) == before, "nothing was written through it"
    for path, data in all_bytes(tmp_path):
        assert CANARY.encode() not in data, path


@pytest.mark.parametrize("place", [EVENTS, LOG, RESULTS, "chat.jsonl", STOP, "adapter/adapter_model.safetensors"])
@pytest.mark.parametrize("kind", ["a pipe", "a device"])
def test_no_command_opens_a_pipe_or_a_device(runs, hostile, tmp_path, place, kind):
    """One that did would wait for ever, or read without end: this test would not come back."""
    (hostile / place).unlink(missing_ok=True)
    PLANTED[kind](hostile / place)
    (tmp_path / "out").mkdir()
    for line in COMMANDS:
        code, printed = over(hostile, runs, tmp_path / "out", line)
        assert "Traceback" not in printed, (line, printed)
        if line not in FROM_SAVED or place == RESULTS:
            assert code == (0 if line.startswith("runs") else 2) and kind in printed, (line, printed)


def test_a_worker_started_by_hand_refuses_too(hostile, canary):
    from etabli.training import worker

    (hostile / LOG).symlink_to(canary / "text")
    with pytest.raises(OutsideFolder):
        worker.main(str(hostile))
    assert (canary / "text").read_text() == f"{CANARY}\n"


def test_one_hostile_run_does_not_hide_the_others(hostile, canary):
    shutil.copytree(hostile, hostile.with_name("good"))
    (hostile / EVENTS).symlink_to(canary / "rows.jsonl")
    code, printed = command("runs", hostile.parent)
    assert code == 0 and "good" in printed and "run is left out" in printed


def test_a_run_may_be_named_through_a_link(hostile, tmp_path):
    (tmp_path / "mine").symlink_to(hostile.parent)
    Run.attach(tmp_path / "mine" / "run").events()
    (hostile / "notes.txt").write_text("hello")
    (hostile / "same").symlink_to("notes.txt")
    assert Run.attach(hostile).events() == []


# --- what a run's recipe names --------------------------------------------------------------------------------------


def renamed(run, **keys):
    """The run's recipe with other keys, and a frozen section if ``frozen`` is among them."""
    frozen = keys.pop("frozen", None)
    Recipe(**Run.attach(run).recipe.keys() | keys).save(run / RECIPE, frozen)


@pytest.mark.parametrize("way", ["absolute", "climbing", "linked", "mapping"])
def test_a_strangers_recipe_reads_no_private_rows(runs, hostile, canary, tmp_path, way):
    private = canary / "rows.jsonl"
    if way == "linked":
        (hostile.parent / "rows.jsonl").symlink_to(private)
    if way == "mapping":
        (hostile.parent / "dataset_info.json").write_text(json.dumps({"x": {"file_name": str(private)}}))
    data = {
        "absolute": str(private),
        "climbing": os.path.relpath(private, hostile.parent),
        "linked": "rows.jsonl",
        "mapping": "dataset_info.json#x",
    }[way]
    for frozen in (None, {"data_hash": "forged"}):
        renamed(hostile, data=data, frozen=frozen)
        for line in (
            "evaluate {run} --limit 1 --max-new-tokens 1",
            "chat {run} hello",
            "compare {run} {other}",
            "arena {run} --prompts {prompts}",
        ):
            (tmp_path / "out").mkdir(exist_ok=True)
            code, printed = over(hostile, runs, tmp_path / "out", line)
            assert code == 2 and CANARY not in printed and "Traceback" not in printed, (line, printed)
            assert "--allow-outside" in printed, (line, printed)
    assert not [path for path, held in all_bytes(tmp_path) if CANARY.encode() in held]


def test_the_rows_that_a_run_was_trained_on_are_read_wherever_they_are(hostile, canary):
    Dataset.open("data", hostile).save(canary / "elsewhere")
    renamed(hostile, data=str(canary / "elsewhere"), frozen={"data_hash": Dataset.open(canary / "elsewhere").hash})
    assert etabli.evaluate(hostile, limit=1, max_new_tokens=1, save=False)["rows"]
    renamed(hostile, data=str(canary / "elsewhere"))
    with pytest.raises(OutsideFolder, match="allow_outside=True"):
        etabli.evaluate(hostile, limit=1, max_new_tokens=1, save=False)
    assert etabli.evaluate(hostile, limit=1, max_new_tokens=1, save=False, allow_outside=True)["rows"]
    assert not folders.is_outside_allowed(), "what was allowed ends with the call"


def test_the_home_folder_is_no_project(hostile, monkeypatch, tmp_path):
    from etabli.runs.run_data import open_rows_of_run

    (hostile.parent / "diary.txt").write_text(CANARY)
    assert open_rows_of_run("diary.txt", hostile, None).rows
    monkeypatch.setenv("HOME", str(hostile.parent))
    with pytest.raises(OutsideFolder):
        open_rows_of_run("diary.txt", hostile, None)


def test_why_private_data_can_not_be_read_is_not_told(hostile, canary):
    from etabli.runs.run_data import open_rows_of_run

    (canary / "broken.jsonl").write_text(f'{{"prompt": 1, "{CANARY}"')
    with pytest.raises(OutsideFolder) as told:
        open_rows_of_run(str(canary / "broken.jsonl"), hostile, "hash")
    assert CANARY not in str(told.value) and told.value.__cause__ is None


def test_a_resumed_run_writes_no_backup_that_it_has_not_begun(hostile, canary):
    recipe, said = Recipe(data="x", backup=str(canary)), []
    assert backup.without_unknown_backup(hostile, recipe, {"data_hash": "a"}, said.append).backup is None
    assert "--allow-outside" in said[0]
    recipe.save(canary / hostile.name / RECIPE, {"data_hash": "a"})
    assert backup.without_unknown_backup(hostile, recipe, {"data_hash": "a"}, said.append).backup == str(canary)
    assert backup.without_unknown_backup(hostile, recipe, {}, said.append).backup is None
    with folders.outside_allowed():
        assert backup.without_unknown_backup(hostile, recipe, {}, said.append).backup == str(canary)


# --- data sets, mappings, archives, curation ------------------------------------------------------------------------


def mapping(folder, kind, target):
    if kind == "factory":
        (folder / "dataset_info.json").write_text(json.dumps({"x": {"file_name": str(target)}}))
        return folder / "dataset_info.json"
    (folder / "config.yaml").write_text(json.dumps({"datasets": [{"path": str(target), "type": "completion"}]}))
    return folder / "config.yaml"


@pytest.mark.parametrize("kind", ["factory", "axolotl"])
@pytest.mark.parametrize("way", ["absolute", "climbing", "linked"])
def test_a_mapping_file_names_files_beside_it(tmp_path, canary, kind, way):
    private, folder = canary / "rows.jsonl", tmp_path / "stranger"
    folder.mkdir()
    (folder / "link.jsonl").symlink_to(private)
    (folder / "linked").symlink_to(canary)
    names = {"absolute": private, "climbing": os.path.relpath(private, folder), "linked": "linked/rows.jsonl"}
    file = mapping(folder, kind, names[way])
    for act in (etabli.read, Dataset.open, etabli.check, etabli.curate):
        with pytest.raises(OutsideFolder) as told:
            act(f"{file}#0" if kind == "axolotl" else str(file))
        assert "--allow-outside" in str(told.value) and CANARY not in str(told.value)
    Recipe(data=f"{file}#0" if kind == "axolotl" else str(file)).save(tmp_path / "train.yaml")
    for line in (f"data check {file}", f"data tokens {file}", f"data rows {tmp_path / 'train.yaml'}"):
        code, printed = command(*line.split())
        assert code == 2 and CANARY not in printed, printed


def test_a_mapping_file_may_be_allowed_more(tmp_path, canary):
    file = mapping(tmp_path, "factory", canary / "rows.jsonl")
    assert etabli.read(file, allow_outside=True)[0]["messages"][0]["content"].startswith(CANARY)
    assert Dataset.open(file, allow_outside=True).rows
    code, printed = command("data", "check", file, "--allow-outside", "--json")
    assert code in (0, 1) and json.loads(printed[printed.index("{") :])["rows"] == 3
    assert not folders.is_outside_allowed()
    (tmp_path / "beside.jsonl").write_text((canary / "rows.jsonl").read_text())
    assert etabli.read(mapping(tmp_path, "factory", "beside.jsonl"))
    assert etabli.read(mapping(tmp_path, "factory", tmp_path / "beside.jsonl")), "beside it, by its whole name"


def test_a_data_set_reads_its_own_files(tmp_path, canary):
    Dataset([{"id": "a", "messages": [{"role": "text", "content": CANARY}]}]).save(canary / "data")
    shutil.copytree(canary / "data", tmp_path / "x")
    (tmp_path / "x" / "rows.parquet").unlink()
    (tmp_path / "x" / "rows.parquet").symlink_to(canary / "data" / "rows.parquet")
    with pytest.raises(Damaged, match="outside of it"):
        Dataset.open(tmp_path / "x")
    (tmp_path / "linked").symlink_to(canary / "data")
    assert Dataset.open(tmp_path / "linked").rows, "the data set itself may be a link"


@pytest.mark.parametrize("name", ["../rows.jsonl", "/etc/rows.jsonl", "C:\\rows.jsonl", "link"])
def test_an_archives_member_is_a_file_of_the_archive(tmp_path, name):
    member = zipfile.ZipInfo("x")
    member.filename = name
    member.external_attr = ((stat.S_IFLNK if name == "link" else stat.S_IFREG) | 0o644) << 16
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.writestr(member, "/etc/passwd" if name == "link" else json.dumps(ROWS[0]))
    with pytest.raises(Unreadable, match=r"odd name|a link"):
        etabli.read(tmp_path / "rows.zip")


@pytest.mark.parametrize("kind", PLANTED)
def test_a_model_folder_shows_nothing_from_elsewhere(tiny, tmp_path, kind):
    from etabli.core.errors import UnknownModel
    from etabli.models import counting, sources

    shutil.copytree(tiny, tmp_path / "model")
    assert sources.resolve(str(tmp_path / "model")).hash == sources.resolve(tiny).hash
    (tmp_path / "model" / "chat_template.jinja").unlink()
    PLANTED[kind](tmp_path / "model" / "chat_template.jinja")
    for act in (sources.resolve, counting.load_tokenizer):
        with pytest.raises((OutsideFolder, UnknownModel)):
            act(str(tmp_path / "model"))


def test_weights_of_a_model_may_be_linked(tiny, tmp_path):
    from etabli.models import sources

    shutil.copytree(tiny, tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.unlink()
    weights.symlink_to(Path(tiny) / "model.safetensors")
    assert sources.resolve(str(tmp_path / "model")).hash == sources.resolve(tiny).hash


def test_an_index_of_weights_names_files_of_its_folder(tiny, tmp_path):
    from etabli.models import sources

    shutil.copytree(tiny, tmp_path / "model")
    index = {"weight_map": {"a": "../private.safetensors"}}
    (tmp_path / "model" / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "private.safetensors").write_bytes(b"x")
    with pytest.raises(OutsideFolder):
        sources.resolve(str(tmp_path / "model"))


def test_a_curation_recipe_does_not_write_decisions_elsewhere(tmp_path, canary):
    from etabli.curation.recipe import CurationRecipe

    Dataset([{"id": at, "messages": [{"role": "text", "content": at}]} for at in "ab"]).save(tmp_path / "data")
    for decisions in (str(canary / "text"), os.path.relpath(canary / "text", tmp_path)):
        CurationRecipe(data="data", decisions=decisions).save(tmp_path / "c.yaml")
        code, printed = command("data", "decide", tmp_path / "c.yaml", "a", "drop")
        assert code == 2 and (canary / "text").read_text() == f"{CANARY}\n", printed
    code, _ = command("data", "decide", tmp_path / "c.yaml", "a", "drop", "--allow-outside")
    assert code == 0 and '"drop"' in (canary / "text").read_text()


def test_a_backup_does_not_follow_links(tmp_path, canary):
    """What the recipe names is copied along; a link in it, or one planted in the backup, leads nowhere."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.jsonl").symlink_to(canary / "rows.jsonl")
    (tmp_path / "run").mkdir()
    said = []
    copy = backup.make_backup(
        tmp_path / "run", Recipe(data=str(tmp_path / "data"), backup=str(tmp_path / "m")), said.append
    )
    copy.close()
    assert any("leads out of" in text for text in said)
    assert not [path for path, held in all_bytes(tmp_path / "m") if CANARY.encode() in held]
    (tmp_path / "m" / "run").mkdir(parents=True, exist_ok=True)
    (tmp_path / "m" / "run" / "data").symlink_to(canary)
    (tmp_path / "mine.jsonl").write_text("{}")
    said.clear()
    backup.make_backup(
        tmp_path / "run", Recipe(data=str(tmp_path / "mine.jsonl"), backup=str(tmp_path / "m")), said.append
    ).close()
    assert any("leads out of" in text for text in said) and len(list(canary.iterdir())) == 2


# --- adapters -------------------------------------------------------------------------------------------------------

USING = [
    line
    for line in COMMANDS
    if line.startswith(("evaluate {run} --limit", "compare", "chat {run} hello", "arena {run} --prompts", "export"))
]


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.pt", "weights.pth", "weights.ckpt"])
def test_an_adapter_of_pickles_alone_is_refused_by_every_command(runs, hostile, tmp_path, name):
    (hostile / "adapter" / "MANIFEST.json").unlink()
    (hostile / "adapter" / "adapter_model.safetensors").unlink()
    (hostile / "adapter" / name).write_bytes(b"\x80\x04cos\nsystem\n.")
    (tmp_path / "out").mkdir()
    for line in USING:
        code, printed = over(hostile, runs, tmp_path / "out", line)
        assert code == 2 and name in printed and "a pickle" in printed and "Traceback" not in printed, (line, printed)
    assert not (tmp_path / "out" / "made").exists()


def test_a_pickle_is_not_exported_beside_weights(hostile, tmp_path):
    (hostile / "adapter" / "training_args.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(BadInput, match=r"training_args\.bin is a pickle"):
        merge.export_adapter(hostile, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def poisoned(adapter, value):
    """One number of one tensor of an adapter becomes NaN or infinite; returns the tensor's name."""
    from safetensors.torch import load_file, save_file

    weights = load_file(adapter / "adapter_model.safetensors")
    name = sorted(weights)[1]
    weights[name].view(-1)[3] = value
    save_file(weights, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    (adapter / "MANIFEST.json").unlink()
    return name


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_an_adapter_that_is_not_finite_is_named_by_every_command(runs, hostile, tmp_path, value):
    tensor = poisoned(hostile / "adapter", value)
    (tmp_path / "out").mkdir()
    for line in USING:
        code, printed = over(hostile, runs, tmp_path / "out", line)
        assert code == 2 and tensor in printed and "NaN or infinity" in printed, (line, printed)
    assert not (tmp_path / "out" / "made").exists()


def test_a_file_that_only_says_it_is_safetensors(hostile):
    from etabli.models.loading import check_adapter
    from etabli.models.sources import resolve

    (hostile / "adapter" / "adapter_model.safetensors").write_bytes(b"\x80\x04.")
    (hostile / "adapter" / "MANIFEST.json").unlink()
    with pytest.raises(Damaged, match="cut off or forged"):
        check_adapter(hostile / "adapter", resolve(Run.attach(hostile).recipe.model))


def test_a_checkpoint_that_is_not_finite_is_not_gone_on_with(hostile, monkeypatch):
    monkeypatch.setattr(checkpoints, "_require_all_files", lambda folder, said: None)  # the fixture's have no optimiser
    newest = checkpoints.list_checkpoints(hostile)[0]
    tensor = poisoned(newest, float("nan"))
    with storage.write_folder(newest.with_name("resealed")) as place:
        shutil.copytree(newest, place, dirs_exist_ok=True)
    shutil.rmtree(newest)
    newest.with_name("resealed").rename(newest)
    said = []
    assert checkpoints.find_newest_valid(hostile, said.append) == checkpoints.list_checkpoints(hostile)[0] != newest
    assert tensor in said[0]


# --- export ---------------------------------------------------------------------------------------------------------


def test_export_copies_what_is_the_adapters(hostile, tmp_path, canary):
    (hostile / "adapter" / "README.md").write_text("mine")
    (hostile / "adapter" / "LICENSE").symlink_to("README.md")
    names = merge.export_adapter(hostile, tmp_path / "out")
    assert {"README.md", "LICENSE", "adapter_model.safetensors"} <= set(names)
    assert not (tmp_path / "out" / "LICENSE").is_symlink() and (tmp_path / "out" / "LICENSE").read_text() == "mine"
    storage.verify(tmp_path / "out")


# --- a full disk ----------------------------------------------------------------------------------------------------


@pytest.fixture
def full_disk(small_disk):
    """The small disk with nothing left; whatever is new on it afterwards was left by the test."""
    (small_disk / "there").mkdir()
    with (small_disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    return small_disk


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def saved(place, **_):
    Dataset([{"id": "a", "messages": [{"role": "text", "content": "b"}]}]).save(place / "data")


WRITES = {
    "journal": lambda place, **_: journal.Journal(place / "votes" / "me.jsonl", bool).add(journal.new_entry()),
    "journal there": lambda place, **_: journal.Journal(place / "there" / "me.jsonl", bool).add(journal.new_entry()),
    "text": lambda place, **_: storage.write_text(place / "new" / "page.html", "x" * 10_000),
    "data set": saved,
    "export": lambda place, run, **_: merge.export_adapter(run, place / "out"),
    "merged": lambda place, run, **_: merge.merge(run, place / "out"),
    "recipe": lambda place, **_: Recipe(data="x").save(place / "new" / RECIPE),
    "csv": lambda place, **_: etabli.check([{"prompt": "", "completion": "b"}]).to_csv(place / "out.csv"),
    "start": lambda place, tiny, **_: Run.start(Recipe(data="home-commands", model=tiny), place / "runs" / "one"),
    "copy": lambda place, run, **_: storage.copy_folder(run / "adapter", place / "new" / "adapter"),
    "copy of a file": lambda place, run, **_: storage.copy_file(run / RECIPE, place / "new" / RECIPE),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_full_disk_is_left_as_it_was(full_disk, tiny, runs, no_owner, write):
    before = everything(full_disk)
    with pytest.raises(NoSpace, match="disk is full"):
        WRITES[write](full_disk, tiny=tiny, run=runs / "changed")
    assert everything(full_disk) == before


def test_nobody_waits_in_vain_for_a_lock_that_was_taken_away(full_disk):
    """The lock of a write that failed is removed; the next write takes a new one, once there is room."""
    book = journal.Journal(full_disk / "there" / "me.jsonl", bool)
    with pytest.raises(NoSpace):
        book.add(journal.new_entry())
    (full_disk / "filler").unlink()
    book.add(journal.new_entry())
    assert len(book.all()) == 1


def test_a_file_takes_no_folders_place(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("years")
    (tmp_path / "a").write_text("a")
    for write in (
        lambda: storage.write_text(tmp_path / "precious", "x"),
        lambda: storage.copy_file(tmp_path / "a", tmp_path / "precious"),
    ):
        with pytest.raises(OSError, match="directory"):
            write()
    assert everything(tmp_path) == ["a", "precious", "precious/thesis.tex"]

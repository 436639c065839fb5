"""Folders are whole or absent; altered ones are told; logs survive a torn line."""

import errno
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etabli.core import json_lines, locks, storage
from etabli.core.errors import BadInput, Damaged, NoSpace, RunLocked


def fill(folder, **files):
    for name, content in files.items():
        (folder / name).write_text(content)


def test_a_folder_is_whole_and_verified(tmp_path):
    with storage.write_folder(tmp_path / "x", {"step": 3}) as folder:
        fill(folder, a="one", b="two")
    assert storage.verify(tmp_path / "x")["step"] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]


def test_an_error_leaves_the_old_folder(tmp_path):
    with storage.write_folder(tmp_path / "x") as folder:
        fill(folder, a="old")
    with pytest.raises(RuntimeError), storage.write_folder(tmp_path / "x") as folder:
        fill(folder, a="new")
        raise RuntimeError
    assert (tmp_path / "x" / "a").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]


@pytest.mark.parametrize("damage", ["missing", "empty", "half", "flipped", "manifest gone", "manifest half"])
def test_damage_is_told(tmp_path, damage):
    with storage.write_folder(tmp_path / "x") as folder:
        fill(folder, a="contents of a", b="contents of b")
    victim, manifest = tmp_path / "x" / "a", tmp_path / "x" / storage.MANIFEST
    {
        "missing": victim.unlink,
        "empty": lambda: victim.write_text(""),
        "half": lambda: victim.write_text("conten"),
        "flipped": lambda: victim.write_bytes(b"Contents of a"),
        "manifest gone": manifest.unlink,
        "manifest half": lambda: manifest.write_text(manifest.read_text()[:20]),
    }[damage]()
    with pytest.raises(Damaged):
        storage.verify(tmp_path / "x")


@pytest.mark.parametrize("call", ["write_text", "fsync", "replace"])
def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch, call):
    """No space at each kind of write in turn: the old folder stays, nothing lies beside it, the message says so."""
    with storage.write_folder(tmp_path / "x") as folder:
        fill(folder, a="old")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(NoSpace, match="MB free"), storage.write_folder(tmp_path / "x") as folder:
        fill(folder, a="new")
        monkeypatch.setattr(storage.os if call == "fsync" else Path, call, full)
    monkeypatch.undo()
    assert (tmp_path / "x" / "a").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]


@given(
    st.lists(st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=8), min_size=1), max_size=8),
    st.data(),
)
def test_a_log_cut_anywhere_gives_its_whole_lines(tmp_path_factory, items, data):
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    lines = [storage.to_json(item).encode() + b"\n" for item in items]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    first, offset = json_lines.read_lines(path)
    path.write_bytes(whole)
    rest, _ = json_lines.read_lines(path, offset)
    assert first + rest == [json.loads(line) for line in lines]


def test_json_has_no_numbers_that_are_not(tmp_path):
    storage.write_json(tmp_path / "x.json", {"a": [math.nan, math.inf, 1.5], "b": {"c": -math.inf}})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": [None, None, 1.5], "b": {"c": None}}


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_somebody_elses_is_not_replaced(tmp_path, kind):
    place = tmp_path / "precious"
    if kind == "folder":
        place.mkdir()
        (place / "thesis.tex").write_text("years")
    else:
        place.write_text("years")
    with pytest.raises(BadInput, match="Nothing was changed"), storage.write_folder(place):
        pass
    assert (place / "thesis.tex" if kind == "folder" else place).read_text() == "years"


def test_one_owner(tmp_path):
    again = locks.lock_file(tmp_path / "lock", "Run x")
    with locks.lock_file(tmp_path / "lock", "Run x"), pytest.raises(RunLocked, match="Run x"), again:
        pass

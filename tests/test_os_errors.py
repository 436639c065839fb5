"""What the operating system refuses is told as a sentence, not as an OSError."""

import errno
import os
import re
import shlex
import subprocess
import sys

import pytest

from etabli.app import cli
from etabli.core import os_errors


def refusal(words, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in words])
    assert end.value.code == 2
    text = "".join(capsys.readouterr())
    assert "debug" not in text and "Errno" not in text
    return text


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a", "completion": "b"}\n' * 3)
    return path


@pytest.mark.parametrize(
    "words", [["runs"], ["data", "check"], ["token-diff"], ["film"], ["arena"], ["export"], ["resume"]]
)
def test_a_name_that_is_too_long(words, capsys, tmp_path):
    text = refusal([*words, "é" * 200 + ".jsonl", *(["--out", tmp_path / "x"] if words == ["export"] else [])], capsys)
    assert "longer" in text or "too long" in text or "no run" in text or "There is no" in text
    assert len(text) < 1200


def test_a_file_in_the_way(rows, capsys, tmp_path):
    (tmp_path / "file").write_text("mine")
    text = refusal(["data", "check", rows, "--csv", tmp_path / "file" / "findings.csv"], capsys)
    assert "not a directory" in text and (tmp_path / "file").read_text() == "mine"
    (tmp_path / "curation.yaml").write_text(f"data: {rows}\n")
    text = refusal(["data", "prepare", tmp_path / "curation.yaml", "--out", tmp_path / "file" / "out"], capsys)
    assert "in the way" in text and (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("number", sorted(os_errors._SENTENCES))
def test_each_sentence_names_the_path_and_a_next_step(number, tmp_path):
    text = os_errors.explain(OSError(number, os.strerror(number), str(tmp_path / "x")))
    assert str(tmp_path / "x") in text and text.count(".") >= 2


def test_other_errors_are_left_alone():
    assert os_errors.explain(OSError(errno.ECONNREFUSED, "refused", "x")) is None
    assert os_errors.explain(OSError("no number")) is None


@pytest.fixture
def in_read_only():
    """Return a function that runs Python's arguments in a folder that can really not be written; returns its output."""
    run = {"capture_output": True, "text": True}
    if os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("root may write everywhere, and this machine lets it mount nothing")

    def in_read_only(folder, *arguments):
        command = [sys.executable, *map(str, arguments)]
        if os.geteuid():
            folder.chmod(0o555)
        else:
            mount = 'mount --bind "$PWD" "$PWD" && mount -o remount,ro,bind "$PWD" && cd "$PWD" && '
            command = ["unshare", "-m", "sh", "-c", mount + shlex.join(command)]
        try:
            done = subprocess.run(command, cwd=folder, **run, check=False)
        finally:
            folder.chmod(0o755)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return in_read_only


NOT_WRITTEN = "'{}' can't be (used|written): (this user has no permission|its disk is read-only)"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["data", "read", "rows.jsonl", "--out", "d"], "d"),
        (["data", "prepare", "filters.yaml", "--out", "e"], "e"),
        (["data", "check", "rows.jsonl", "--workers", "1", "--csv", "f.csv"], "f.csv"),
        (["lab", "books", "--allow-root"], "books"),
    ],
)
def test_a_read_only_folder_is_named_by_the_name_that_was_given(rows, in_read_only, words, named):
    (rows.parent / "filters.yaml").write_text("data: rows.jsonl\nfilters: [{filter: exact}]\n")
    done = in_read_only(rows.parent, "-m", "etabli", *words)
    assert done.returncode == 2 and re.search(NOT_WRITTEN.format(re.escape(named)), done.stderr), done.stderr


def test_python_gets_the_same_sentence_as_an_error_of_the_tree(rows, in_read_only):
    (rows.parent / "run").mkdir()
    (rows.parent / "run/recipe.yaml").write_text("data: rows.jsonl\n")
    script = (
        "import etabli\nfrom etabli.core.errors import NotWritable\n"
        "for call in (lambda: etabli.Project.open(data='rows.jsonl'), lambda: etabli.Run.attach('run').resume(),\n"
        "             lambda: etabli.evaluate('run')):\n"
        "    try:\n        call()\n    except NotWritable as error:\n        print(error)\n"
    )
    said = in_read_only(rows.parent, "-c", script).stdout.splitlines()
    assert [name in line and "can't be" in line for name, line in zip(("project.yaml", "run/lock", "run"), said)] == [
        True,
        True,
        True,
    ]


def test_what_only_reads_works_in_a_read_only_folder(rows, in_read_only):
    script = "import etabli; print(len(etabli.read('rows.jsonl')), etabli.check('rows.jsonl').rows)"
    assert in_read_only(rows.parent, "-c", script).stdout.strip() == "3 3"

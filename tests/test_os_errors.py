"""What the operating system refuses is told as a sentence, not as an OSError."""

import errno
import os

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

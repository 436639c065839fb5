"""Who looks at a run changes nothing in it, and reads no more than it needs."""

import io
import os
import shutil
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import save_file

from etabli.core import storage
from etabli.core.contracts import CHECKPOINTS, LOG, PROCESS, RECIPE
from etabli.core.progress import ProgressLine
from etabli.runs import checkpoints
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run


@pytest.fixture
def run(tmp_path):
    """A run whose process is gone, with two checkpoints."""
    folder = tmp_path / "run"
    folder.mkdir()
    Recipe(data="home-commands").save(folder / RECIPE)
    storage.write_json(folder / PROCESS, {"pid": 2**22 + 1, "started": 0.0, "host": os.uname().nodename})
    for step in (1, 2):
        place = folder / CHECKPOINTS / f"{checkpoints.STEP}{step:06d}"
        with storage.write_folder(place, {"step": step}) as new:
            for name in (checkpoints.OPTIMIZER, checkpoints.RANDOM, checkpoints.WEIGHTS):
                save_file({"a": np.ones(2, np.float32)}, new / name)
            storage.write_json(new / checkpoints.STATE, {"step": step})
    return Run.attach(folder)


def names(run):
    return sorted(path.relative_to(run.folder).as_posix() for path in run.folder.rglob("*"))


def test_only_the_process_of_a_run_sets_a_damaged_checkpoint_aside(run, capsys):
    newest, older = checkpoints.list_checkpoints(run.folder)
    (newest / checkpoints.WEIGHTS).write_bytes(b"x")
    before = names(run)
    assert run.adapter == older and names(run) == before and newest.name in capsys.readouterr().err
    warnings = []
    assert checkpoints.find_newest_valid(run.folder, warnings.append) == older
    assert len(warnings) == 1 and not newest.exists() and newest.with_name(f"damaged-{newest.name}").is_dir()


def test_why_a_run_is_lost_is_read_from_the_end_of_a_huge_log(run):
    with (run.folder / LOG).open("wb") as log:
        log.write(b"the first line\n")
        log.seek(2**36)  # sparse: it takes no room on the disk
        log.write("\nUserWarning: of no matter\nMemoryError: zu groß\n".encode())
    assert run.state == "lost"
    tracemalloc.start()
    why = run.why
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert why.endswith("The last it printed: MemoryError: zu groß") and peak < 2**26


@pytest.mark.parametrize("content", [b"", b"\0" * 100])
def test_a_log_without_a_line_gives_no_reason(run, content):
    (run.folder / LOG).write_bytes(content)
    assert "without a word" in run.why


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_line_of_progress_is_as_wide_as_the_terminal_and_covers_the_one_before(monkeypatch):
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((40, 20)))
    import sys

    line = ProgressLine()
    monkeypatch.setattr(line, "_notebook", False)
    line._terminal = True
    line.show("x" * 200, urgent=True)
    line.show("short", urgent=True)
    line.close()
    assert sys.stderr.getvalue() == f"\r{'x' * 39}\r{'short':<39}\n"

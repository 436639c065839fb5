"""The line of progress: a slow block shows it, a quick one nothing; it ends with the block, also by an error."""

import contextlib
import io
import json
import os
import pty
import re
import subprocess
import sys
import threading
from types import SimpleNamespace

import nbformat
import pytest

import etabli
from etabli.app import notebooks
from etabli.app.project import Project
from etabli.core import progress, terminal
from etabli.core.progress import show_progress
from etabli.core.wording import count_of, format_gib
from etabli.runs.progress import describe_progress

LONGEST = 30  # seconds that a test waits for a line before it fails


class Terminal(io.StringIO):
    """A terminal that says when a text stands in it."""

    def __init__(self):
        super().__init__()
        self.changed = threading.Condition()

    def isatty(self):
        return True

    def write(self, text):
        with self.changed:
            written = super().write(text)
            self.changed.notify_all()
        return written

    def wait_for(self, text):
        with self.changed:
            assert self.changed.wait_for(lambda: text in self.getvalue(), LONGEST), self.getvalue()


@contextlib.contextmanager
def terminal_as_stderr():
    """A terminal in the place of stderr; within a test, since pytest sets stderr anew between its phases."""
    opened = Terminal()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sys, "stderr", opened)
        monkeypatch.setattr(progress, "REFRESHED_EVERY", 0.01)
        yield opened


def test_a_slow_block_says_what_how_much_and_how_long():
    with terminal_as_stderr() as screen:
        with show_progress("counting", total=3, after=0) as task:
            screen.wait_for("counting · 0 s")
            task.report(2)
            screen.wait_for("counting: 2 of 3 · 0 s")
        assert re.search(r"\rcounting: done in 0 s +\n\Z", screen.getvalue())


def test_a_quick_block_shows_nothing():
    with terminal_as_stderr() as screen:
        with show_progress("counting"):
            pass
        assert screen.getvalue() == "" and threading.active_count() == len(threading.enumerate())


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_ends_the_line_and_its_thread(error):
    with terminal_as_stderr() as screen:
        before = threading.active_count()
        with pytest.raises(error), show_progress("counting", after=0):
            screen.wait_for("counting")
            raise error
        assert "counting: stopped in 0 s" in screen.getvalue() and screen.getvalue().endswith("\n")
        assert threading.active_count() == before
        with show_progress("again", after=0):
            screen.wait_for("\ragain")


def test_a_block_within_a_block_adds_to_its_line():
    with terminal_as_stderr() as screen:
        with show_progress("the outer", after=0):
            with contextlib.suppress(ValueError), show_progress("the inner", after=0) as task:
                task.report(5)
                screen.wait_for("the outer · the inner: 5 · ")
                raise ValueError
            length = len(screen.getvalue())
            screen.wait_for("\rthe outer · 0 s")
        assert screen.getvalue().count("\n") == 1 and len(screen.getvalue()) > length
        assert "the inner: done" not in screen.getvalue()


def test_a_sentence_is_not_written_into_the_line():
    with terminal_as_stderr() as screen:
        with show_progress("counting", after=0):
            screen.wait_for("counting")
            terminal.say("A note.")
        assert re.search(r"\r +\rA note\.\n", screen.getvalue())


def test_what_is_no_terminal_stays_quiet(monkeypatch, capfd):
    monkeypatch.setattr(progress, "REFRESHED_EVERY", 0.01)
    before = threading.active_count()
    with show_progress("counting", after=0):
        assert threading.active_count() == before
    assert capfd.readouterr() == ("", "")


SLOW = """
import threading
from etabli.core import progress
progress.REFRESHED_EVERY = 0.01
shown, update = threading.Event(), progress.ProgressLine._update_output
progress.ProgressLine._update_output = lambda line, text: (update(line, text), shown.set())
with progress.show_progress("reading <b>rows</b>", total=2, after=0) as task:
    task.report(1)
    assert shown.wait(30)
    {end}
"""
QUICK = "from etabli.core.progress import show_progress\nwith show_progress('quick'): pass"


def test_a_notebook_keeps_one_plain_output_and_no_red_box(tmp_path):
    from nbconvert import HTMLExporter

    cells = [SLOW.format(end="pass"), QUICK]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebooks.execute(notebook, tmp_path)
    [output] = notebook.cells[0].outputs
    assert output.output_type == "display_data" and list(output.data) == ["text/plain"]
    assert re.fullmatch(r"reading <b>rows</b>: done in \d+ s", output.data["text/plain"])
    assert not notebook.cells[1].outputs
    page = HTMLExporter().from_notebook_node(notebook)[0]
    assert "reading &lt;b&gt;rows&lt;/b&gt;: done" in page and "<b>rows</b>" not in page


def test_an_error_in_a_notebook_ends_the_line(tmp_path):
    from etabli.core.errors import EtabliError

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SLOW.format(end="1 / 0"))])
    with pytest.raises(EtabliError, match="ZeroDivisionError"):
        notebooks.execute(notebook, tmp_path)
    line = next(output for output in notebook.cells[0].outputs if output.output_type == "display_data")
    assert ": stopped in" in line.data["text/plain"]


def test_a_command_on_a_terminal_keeps_its_json_clean(tmp_path):
    """A real terminal for stderr: the line goes there, standard output is one JSON object."""
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "Who?", "completion": "It is I."}) + "\n")
    leader, follower = pty.openpty()
    code = (
        "import sys; from etabli.core import progress; progress.SHOWN_AFTER = 0; progress.show_progress.__wrapped__."
        "__defaults__ = (None, 0); from etabli.app.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "data", "check", "rows.jsonl", "--json"]
    process = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=follower, check=False)
    os.close(follower)
    with contextlib.suppress(OSError):
        shown = os.read(leader, 100_000).decode()
    os.close(leader)
    assert json.loads(process.stdout)["rows"] == 1
    assert "checking rows" in shown


@pytest.mark.parametrize("state", ["running", "stopping", "completed", "stopped", "failed", "lost"])
def test_only_a_run_that_goes_on_has_time_left(state):
    progress = {"state": state, "step": 12, "steps": 400, "loss": 1.0, "tokens_per_s": 50.0, "seconds_left": 125.0}
    text = describe_progress({**progress, "memory_bytes": 3 * 2**29, "run": "", "continuity": [], "warnings": []})
    assert text.startswith(f"{state}: step 12/400 · loss 1.000 · 50 tokens/s · 1.50 GiB")
    assert ("2:05 left" in text) == (state in ("running", "stopping"))


def test_counts_agree_with_their_noun_and_sizes_are_in_gib():
    assert [count_of(n, "step") for n in (0, 1, 2, 1200)] == ["0 steps", "1 step", "2 steps", "1,200 steps"]
    assert count_of(1, "row trains", "rows train") == "1 row trains" and count_of(3, "copy", "copies") == "3 copies"
    assert [format_gib(size) for size in (2**30, 15e9)] == ["1.0 GiB", "14.0 GiB"]


def test_the_first_use_of_a_public_name_shows_a_line_while_its_libraries_load(tmp_path, monkeypatch):
    (tmp_path / "slow_home.py").write_text("import slow_gate\nslow_gate.wait()\nslow_name = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(etabli._HOMES, "slow_name", "slow_home")
    with terminal_as_stderr() as screen:
        gate = SimpleNamespace(wait=lambda: screen.wait_for("loading etabli.slow_name"))
        monkeypatch.setitem(sys.modules, "slow_gate", gate)
        assert etabli.slow_name == 7
        assert "done in" in screen.getvalue()
        lines = screen.getvalue()
        assert etabli.slow_name == 7 and screen.getvalue() == lines, "the second use loads nothing"
    del sys.modules["slow_home"]


def test_opening_a_project_shows_a_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with terminal_as_stderr() as screen:
        monkeypatch.setattr(Project, "_write", lambda self, saved: screen.wait_for("opening the project"))
        Project.open()

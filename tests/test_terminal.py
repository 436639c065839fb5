"""Where sentences for a person go: stderr, but in a notebook not into the red box of errors."""

import subprocess
import sys

import nbformat

from etabli.app import notebooks

SAY = "from etabli.core import machine, terminal; terminal.say('4 rows are left out'); print(machine.detect_platform())"


def test_a_notebook_shows_no_red_box(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SAY)])
    notebooks.execute(notebook, tmp_path)
    outputs = notebook.cells[0].outputs
    assert {output.name for output in outputs} == {"stdout"}
    assert "".join(output.text for output in outputs) == "4 rows are left out\nnotebook\n"


def test_a_shell_where_a_library_imported_ipykernel_keeps_stdout_for_results():
    result = subprocess.run(
        [sys.executable, "-c", f"import ipykernel, IPython; {SAY}"], capture_output=True, text=True, check=True
    )
    assert result.stdout == "shell\n" and result.stderr == "4 rows are left out\n"

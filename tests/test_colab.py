"""A second environment with Colab's published pins: the wheel installs without changing one, widgets build, the
notebooks' cells that do not train run, and each widget's HTML twin is in the export."""

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PINS = dict(line.split("==") for line in (ROOT / "tests" / "constraints-colab.txt").read_text().split() if "==" in line)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

WIDGETS = """
from etabli_widgets import ChatCompare, RunMonitor
events = [{"kind": "start", "t": 0, "steps": 2}, {"kind": "step", "t": 1, "step": 1, "loss": 2.5}]
chat = ChatCompare({"base": lambda prompt: iter(["answer of base"]), "tuned": lambda prompt: iter(["answer of tuned"])})
answers = chat.ask("a question")
"""


def test_every_bound_is_met_by_colab():
    for requirement in map(Requirement, PROJECT["dependencies"]):
        if requirement.name in PINS:
            assert requirement.specifier.contains(PINS[requirement.name]), requirement


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """The second environment's Python; the wheel is installed last, as a notebook's first cell does it."""
    home = tmp_path_factory.mktemp("colab")
    subprocess.run([sys.executable, "-m", "venv", str(home / "venv")], check=True)
    python = home / "venv" / "bin" / "python"
    torch = os.environ.get("ETABLI_TEST_TORCH") or f"torch=={metadata.version('torch').split('+')[0]}"
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", torch], check=True)
    subprocess.run([*pip, "install", *(f"{name}=={version}" for name, version in PINS.items())], check=True)
    before = frozen(python)
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(home), str(ROOT)], check=True)
    subprocess.run([*pip, "install", str(next(home.glob("etabli-*.whl"))), "bitsandbytes"], check=True)
    return python, before


def frozen(python):
    listed = subprocess.run([str(python), "-m", "pip", "list", "--format=json"], capture_output=True, check=True)
    return {item["name"]: item["version"] for item in json.loads(listed.stdout)}


@pytest.mark.nightly
def test_dependencies_resolve_for_python_3_13(tmp_path):
    """Colab's Python. The torch stack is checked by its bounds above: to resolve it would fetch gigabytes. numpy 2.0
    has no published build for 3.13 (Colab has its own), so its pin is left out."""
    heavy = {"torch", "transformers", "peft", "accelerate", "bitsandbytes"}
    light = [item for item in PROJECT["dependencies"] if Requirement(item).name not in heavy]
    pins = tmp_path / "pins.txt"
    pins.write_text("\n".join(f"{name}=={version}" for name, version in PINS.items() if name not in {*heavy, "numpy"}))
    base = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed", "--target", "x"]
    target = ["--python-version", "3.13", "--only-binary=:all:"]
    done = subprocess.run([*base, *target, "-c", str(pins), *light], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    alone = subprocess.run([*base, *target, "--no-deps", "bitsandbytes"], cwd=tmp_path, capture_output=True, text=True)
    assert alone.returncode == 0, alone.stderr


@pytest.mark.nightly
def test_installing_changes_no_version(colab):
    python, before = colab
    after = frozen(python)
    assert {name: after[name] for name in before} == before
    for name, version in PINS.items():
        assert after[name] == version


@pytest.mark.nightly
def test_cells_run_and_twins_are_exported(colab, embedded, tmp_path, monkeypatch):
    from etabli.app import notebooks

    kernel(colab[0], tmp_path, monkeypatch)
    cells = [WIDGETS, "RunMonitor(events=events, name='seen')", "chat"]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    run(made, tmp_path)
    notebooks.to_html(made, tmp_path / "widgets.html")
    page = (tmp_path / "widgets.html").read_text()
    assert "<b>seen</b>: running" in page and "answer of tuned" in page
    assert "application/vnd.jupyter.widget-view+json" in made.cells[1].outputs[1]["data"]
    for name in ("00_machine", "01_data"):
        made = notebooks.with_parameters(notebooks.folder() / f"{name}.ipynb", {"ROWS": 40, "TEST": 8})
        run(made, tmp_path)
    assert (tmp_path / "datasets" / "home-commands" / "rows.parquet").is_file()


def kernel(python, folder, monkeypatch):
    """Let the name ``python3`` mean the second environment's kernel."""
    spec = folder / "share" / "kernels" / "python3"
    spec.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "colab", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(folder / "share"))


def run(notebook, folder):
    from etabli.app import notebooks

    notebook.cells.append(nbformat.v4.new_code_cell("import IPython; IPython.__version__"))
    notebooks.execute(notebook, folder)
    assert re.search(r"7\.34", str(notebook.cells[-1].outputs)), "this ran in another environment"

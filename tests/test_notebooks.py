"""The notebooks as files: small, clean, short cells, and their code compiles and imports what exists."""

import ast
import importlib.util
import json
import re
from pathlib import Path

import pytest

from etabli.app import notebooks
from etabli.core.errors import BadInput

FOLDER = Path(__file__).parents[1] / "notebooks"
ALL = sorted(FOLDER.glob("*.ipynb"))


def code(path):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    return ["".join(cell["source"]) for cell in cells]


def plain(source):
    """Without the line magics that only IPython reads."""
    lines = source.split("\n")
    return "\n".join(line.replace(line.strip(), "pass") if line.strip().startswith("%") else line for line in lines)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
class TestNotebook:
    def test_is_clean_and_small(self, path):
        notebook = json.loads(path.read_text())
        assert path.stat().st_size < 60_000
        assert "widgets" not in notebook["metadata"]
        assert notebook["metadata"]["accelerator"] == "GPU" and notebook["metadata"]["colab"]["gpuType"] == "T4"
        for cell in notebook["cells"]:
            assert not cell.get("outputs") and cell.get("execution_count") is None

    def test_cells_are_short(self, path):
        for source in code(path):
            assert 1 <= len(source.strip().split("\n")) <= 9, source

    def test_begins_with_what_and_how_long(self, path):
        first = "".join(json.loads(path.read_text())["cells"][0]["source"])
        assert "At the end" in first and "minute" in first and "T4" in first

    def test_has_an_install_and_a_parameters_cell(self, path):
        tags = [cell["metadata"].get("tags", []) for cell in json.loads(path.read_text())["cells"]]
        assert tags.count(["install"]) == 1 and tags.count(["parameters"]) == 1

    def test_imports_exist(self, path):
        for node in ast.walk(ast.parse("\n".join(map(plain, code(path))))):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("etabli"):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    found = hasattr(module, alias.name) or importlib.util.find_spec(f"{node.module}.{alias.name}")
                    assert found, f"{node.module} has no {alias.name}"

    def test_a_widget_is_followed_by_a_cell_that_reads_it(self, path):
        sources = code(path)
        for at, source in enumerate(sources):
            last = source.strip().split("\n")[-1]
            if last in ("monitor", "chat", "table", "slider", "lens", "ledger", "trip"):
                assert any(f"{last}." in later for later in sources[at + 1 :])


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_a_notebook_that_shows_frames_shows_their_texts_whole(path):
    sources = code(path)
    shown = [
        at for at, source in enumerate(sources) if re.search(r"pd\.(DataFrame|Series)\(|data\.frame\.sample", source)
    ]
    whole = [at for at, source in enumerate(sources) if "max_colwidth" in source]
    assert not shown or (whole and whole[0] <= shown[0])


def test_the_five_of_the_tour_are_there():
    assert {path.stem for path in ALL} >= set(notebooks.TOUR)


def test_parameters_are_set_and_misspelt_ones_refused():
    made = notebooks.with_parameters(FOLDER / "02_finetune.ipynb", {"STEPS": 3, "MAX_MINUTES": 1.5, "TEST": 4})
    injected = [cell for cell in made.cells if "injected-parameters" in cell.metadata.get("tags", [])]
    assert [cell.source for cell in injected] == ["STEPS = 3\nMAX_MINUTES = 1.5"]
    with pytest.raises(BadInput, match=r"STEP; choose from .*STEPS"):
        notebooks.check_parameters({"STEP": 3})
    notebooks.check_parameters({"MODEL": "x", "DATA": "x", "STEPS": 3, "MAX_MINUTES": 1, "TEST": 3, "ROWS": 3})


def test_copying_leaves_what_is_there(tmp_path):
    (tmp_path / "01_data.ipynb").write_text("mine")
    copied = notebooks.copy(tmp_path)
    assert {path.stem for path in copied} >= set(notebooks.TOUR)
    assert (tmp_path / "01_data.ipynb").read_text() == "mine"

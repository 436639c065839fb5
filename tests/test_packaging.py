"""What is shipped, what is imported, and which way."""

import ast
import graphlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import etabli

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "workbench" / "etabli"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# A room may import from the rooms after it, never from those before it. Nothing imports in a circle.
ROOMS = [
    "app",
    "review",
    "synthesis",
    "exports",
    "evaluation",
    "memory",
    "curation",
    "training",
    "checks",
    "runs",
    "models",
    "data",
    "rendering",
    "core",
]


def test_public_names():
    assert etabli.__all__ == [
        "Dataset",
        "EtabliError",
        "Project",
        "Recipe",
        "Run",
        "arena",
        "card",
        "chat",
        "check",
        "compare",
        "curate",
        "evaluate",
        "export",
        "film",
        "home_commands",
        "lens",
        "load",
        "lr_range",
        "merge",
        "open_adapter",
        "overlay",
        "own_check",
        "own_filter",
        "read",
        "render",
        "seal",
        "synth",
        "token_diff",
        "verdict",
    ]
    assert all(callable(getattr(etabli, name)) for name in etabli.__all__)
    assert not (set(etabli.__all__) & {path.stem for path in Path(etabli.__file__).parent.iterdir()}), (
        "a module hides it"
    )


def test_importing_etabli_is_cheap():
    heavy = ["torch", "transformers", "pandas", "pyarrow", "pydantic", "yaml", "anywidget", "numpy"]
    code = f"import sys, etabli; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_importing_etabli_changes_nothing_and_torch_finds_the_threads_settled():
    code = (
        "import os; before = dict(os.environ); import etabli; assert dict(os.environ) == before\n"
        "import etabli.models.loading, sys; assert 'torch' not in sys.modules; print(os.environ['OMP_WAIT_POLICY'])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "passive", done.stderr


def test_public_names_are_typed():
    """What a reader of types sees is what the interpreter gives."""
    tree = ast.parse(Path(etabli.__file__).read_text())
    typed = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    assert {line.names[0].asname: line.module for line in typed.body} == etabli._HOMES


def module_of(path):
    """The dotted name of a file of the package."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.fixture(scope="module")
def imports():
    """For each module of the package the modules of the package that it imports, also within functions."""
    files = {module_of(path): path for path in PACKAGE.rglob("*.py")}
    return {module: set(imported(path, files)) for module, path in files.items()}


def test_rooms_import_downwards(imports):
    inner = {module: names for module, names in imports.items() if module.count(".") and module != "etabli.__main__"}
    for module, names in inner.items():
        room = module.split(".")[1]
        for name in names - {"etabli"}:
            assert ROOMS.index(room) <= ROOMS.index(name.split(".")[1]), f"{module} imports {name}"


def test_nothing_imports_in_a_circle(imports):
    graph = {module: names - {module} for module, names in imports.items() if module != "etabli"}
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def imported(path, files):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)
        elif isinstance(node, ast.ImportFrom) and node.module in files:
            named = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in files else node.module for name in named)


def test_environment_yml_equals_pyproject():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(item["pip"] for item in listed if isinstance(item, dict))
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *extras["lab"]]
    assert [item for item in pip if not item.startswith("--")] == wanted
    assert f"python{PROJECT['requires-python']}" in listed


def test_every_dependency_has_its_reason():
    said = (ROOT / "docs" / "architecture.md").read_text()
    extras = [name for group in PROJECT["optional-dependencies"].values() for name in group]
    for requirement in [*PROJECT["dependencies"], *extras]:
        name = re.match(r"[a-z0-9_-]+", requirement)[0]
        assert name == "etabli" or f"`{name}`" in said, f"docs/architecture.md gives no reason for {name}"


def test_nothing_of_this_machine_is_committed():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    for name in tracked:
        path = ROOT / name
        if path.suffix in (".py", ".md", ".ipynb", ".toml", ".yml", ".json", ".js", ".css") and path.is_file():
            found = re.findall(r"(?<![\w.])/(?:root|work|home/\w+|farm)/", path.read_text())
            assert not found or name == "tests/test_packaging.py", f"{name}: {found[0]}"


def test_the_formatter_is_switched_off_nowhere():
    switch = "# " + "fmt:"
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert tracked and not [name for name in tracked if switch in (ROOT / name).read_text()]


def test_declared_dependencies_are_those_that_are_imported():
    done = subprocess.run([sys.executable, "-m", "deptry", "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_carries_notebooks_and_scripts(tmp_path):
    import zipfile

    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    names = zipfile.ZipFile(next(tmp_path.glob("etabli-*.whl"))).namelist()
    for wanted in (
        "etabli/notebooks/02_finetune.ipynb",
        "etabli_widgets/static/run_monitor.js",
        "etabli/app/cli/root.py",
        "etabli/data/customer_mails.csv",
    ):
        assert wanted in names
    for path in (ROOT / "workbench" / "etabli" / "core" / "pages").iterdir():
        assert path.suffix not in (".j2", ".css", ".js") or f"etabli/core/pages/{path.name}" in names
    assert not [name for name in names if name.startswith(("tests/", "workbench/", "widgets/"))]

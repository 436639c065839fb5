"""What the documentation names is there, and what a docstring shows as an example runs."""

import ast
import importlib
import io
import json
import re
import subprocess
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE, WIDGETS = ROOT / "workbench" / "etabli", ROOT / "widgets" / "etabli_widgets"
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
PAGES = [ROOT / name for name in TRACKED if name.endswith(".md")]
MODULES = [ROOT / name for name in TRACKED if name.endswith(".py")]
SHIPPED = [path for path in MODULES if path.is_relative_to(PACKAGE) or path.is_relative_to(WIDGETS)]
# A page may name a file from the root, or from where a package's modules are.
BASES = (ROOT, PACKAGE, WIDGETS)


def docstrings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield text


def comments(path: Path) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


# --- files and modules that are named -------------------------------------------------------------------------------

FILE = re.compile(r"(?<![\w/.<-])((?:[\w-]+/)+[\w-]+\.(?:py|md|js|css|json|ipynb|toml|txt))\b")
FOLDERS = {path.name for base in BASES for path in base.iterdir() if path.is_dir() and path.name != "__pycache__"}
OWN_OF_A_PERSON = ("NAME", "PATH", "FILE")  # stand for a name that the reader chooses


def missing_files(text: str) -> list[str]:
    named = [name for name in FILE.findall(text) if name.split("/")[0] in FOLDERS]
    named = [name for name in named if not any(word in name for word in OWN_OF_A_PERSON)]
    return [name for name in named if not any((base / name).exists() for base in BASES)]


def test_every_file_that_a_page_names_is_there():
    texts = {path: path.read_text() for path in [*PAGES, ROOT / "Makefile", ROOT / "pyproject.toml"]}
    texts |= {path: "\n".join([*docstrings(path), *comments(path)]) for path in MODULES}
    missing = {str(path.relative_to(ROOT)): found for path, text in texts.items() if (found := missing_files(text))}
    assert not missing


def test_the_search_for_files_finds_one_that_is_gone():
    assert missing_files("see `docs/none.md`, tests/test_docs.py and `training/none.py`") == [
        "docs/none.md",
        "training/none.py",
    ]


def test_every_path_of_the_project_settings_matches_a_file():
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    built = tools["hatch"]["build"]["targets"]
    patterns = [*tools["ruff"]["lint"]["per-file-ignores"], *tools["ruff"]["src"], *built["wheel"]["packages"]]
    patterns += [
        *built["wheel"]["force-include"],
        *built["sdist"]["include"],
        *tools["pytest"]["ini_options"]["testpaths"],
    ]
    assert [pattern for pattern in patterns if not any(ROOT.glob(pattern))] == []


ENDINGS = (
    ".py",
    ".md",
    ".js",
    ".css",
    ".json",
    ".jsonl",
    ".ipynb",
    ".yaml",
    ".parquet",
    ".txt",
    ".safetensors",
    ".html",
)
DOTTED = re.compile(r"`{1,2}([a-z_]\w*(?:[./][A-Za-z_]\w*)+)(?:\([^`]*\))?`{1,2}")


def import_name(path: Path) -> str:
    """The name by which a shipped file is imported."""
    source_root = ROOT / path.relative_to(ROOT).parts[0]
    return ".".join(path.relative_to(source_root).with_suffix("").parts).removesuffix(".__init__")


IMPORT_NAMES = [import_name(path) for path in SHIPPED]


WIDGETS = {"monitor": "etabli_widgets.RunMonitor", "chat": "etabli_widgets.ChatCompare"}


def is_there(name: str) -> bool:
    """Can this be imported: a module, or what a module or a class in it has?"""
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        if ".".join(parts[:size]) in IMPORT_NAMES:
            value = importlib.import_module(".".join(parts[:size]))
            for part in parts[size:]:
                value = getattr(value, part, getattr(value, "__annotations__", {}).get(part))
            return value is not None
    return False


def missing_names(text: str) -> list[str]:
    """Names of modules, and of what is in them, that stand in backticks and are nowhere in the packages."""
    missing = []
    for name in DOTTED.findall(text):
        first, *rest = name.replace("/", ".").split(".")
        starts = [full for full in IMPORT_NAMES if full.split(".")[-1] == first]
        starts += [f"{full}.{first.title()}" for full in starts]  # ``run.stop``: of an object of the class Run
        starts += [WIDGETS[first]] if first in WIDGETS else []
        if starts and not name.endswith(ENDINGS) and not any(is_there(".".join([full, *rest])) for full in starts):
            missing.append(name)
    return missing


def test_every_module_that_a_page_or_a_docstring_names_is_there():
    texts = {path: path.read_text() for path in PAGES} | {path: "\n".join(docstrings(path)) for path in SHIPPED}
    missing = {str(path.relative_to(ROOT)): found for path, text in texts.items() if (found := missing_names(text))}
    assert not missing, json.dumps(missing, indent=1)


def test_every_module_in_the_table_of_the_architecture_is_there():
    """Rows of one folder list its modules by their bare names."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = re.findall(
        r"^\| (.+?) \| (.+) \|$", page.split("## Twelve rooms and an exit")[1].split("\n## ")[0], re.MULTILINE
    )
    missing = []
    for folders, text in table:
        for folder in re.findall(r"`([\w/]+)/`", folders):
            inside = {path.stem for base in BASES for path in (base / folder).rglob("*")} | {"etabli"}
            assert len(inside) > 1, f"there is no folder {folder}"
            missing += [f"{folder}/{name}" for name in re.findall(r"`([a-z_]+)/?`", text) if name not in inside]
    assert not missing


def test_a_module_named_alone_is_there():
    """``contracts.py``; what a person calls a file of their own is no module of ours."""
    known = {path.name for path in MODULES} | {"mine.py", "watch.py", "NAME.py"}
    texts = {path: path.read_text() for path in PAGES} | {path: "\n".join(docstrings(path)) for path in SHIPPED}
    named = {path.name: set(re.findall(r"(?<![\w/.])\w+\.py\b", text)) - known for path, text in texts.items()}
    assert not {name: found for name, found in named.items() if found}

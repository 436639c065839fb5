"""No script and no module of ours makes markup, code or a request of a text; each way to do so, planted, is found."""

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ESLINT = ROOT / "widgets/node_modules/.bin/eslint"
needs_eslint = pytest.mark.skipif(not ESLINT.exists(), reason="no eslint: npm --prefix widgets install")

# A sink a line; `text` is what somebody else wrote.
PLANTED_SCRIPT = """
el.innerHTML = text;
el["innerHTML"] = text;
el[`innerHTML`] = text;
el.outerHTML += text;
el.insertAdjacentHTML("beforeend", text);
el.setHTMLUnsafe(text);
make("p", { innerHTML: text });
make("p", { ["inner" + "HTML"]: text });
make("p", row.props);
make("p", { ...row });
Object.assign(el, { outerHTML: text });
Object.assign(el, row);
el[name] = text;
document.write(text);
document.writeln(text);
document["wri" + "te"](text);
eval(text);
(0, eval)(text); window.eval(text);
new Function(text)();
Function("x", text)();
(() => {}).constructor(text)();
setTimeout("hit()", 5);
setTimeout(`${text}`, 5);
setTimeout(text, 5);
setInterval("a" + text, 5);
new DOMParser();
parser.parseFromString(text, "text/html");
range.createContextualFragment(text);
frame.srcdoc = text;
make("iframe", {});
document.createElement("script");
document.createElementNS(SVG, "image");
svg("use", {});
el.setAttribute("onclick", text);
el.setAttribute("href", text);
el.setAttribute("style", text);
el.setAttribute(name, text);
el.toggleAttribute("onclick", text);
el.setAttributeNS(XLINK, "xlink:href", text);
svg("g", { onclick: text });
svg("g", { href: text });
link.href = text;
make("i", { href: text });
picture.src = text;
picture.srcset = text;
button.formAction = text;
el.style.background = text;
el.style.cssText = text;
import(text);
fetch(text);
window.fetch(text);
window["fe" + "tch"](text);
new XMLHttpRequest();
new WebSocket(text);
new EventSource(text);
navigator.sendBeacon(text);
new Image();
new Worker(text);
window.open(text);
open(text);
location = text;
location.assign(text);
window.location = text;
""".strip().splitlines()


@needs_eslint
def test_no_script_of_ours_has_a_sink() -> None:
    done = subprocess.run(["npm", "--prefix", "widgets", "run", "sinks"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_eslint
def test_each_planted_sink_of_a_script_is_found() -> None:
    command = [str(ESLINT), "--config", "widgets/eslint.config.mjs", "--format", "json", "--stdin"]
    place = ["--stdin-filename", "widgets/etabli_widgets/static/planted.js"]
    source = "\n".join(PLANTED_SCRIPT)
    done = subprocess.run([*command, *place], cwd=ROOT, input=source, capture_output=True, text=True)
    (report,) = json.loads(done.stdout)
    lines = {message["line"] for message in report["messages"] if message["ruleId"]}
    assert [line for number, line in enumerate(PLANTED_SCRIPT, 1) if number not in lines] == []


# Who may say that a text is markup already, and of what.
TRUSTED = {"Markup": {"markup.py", "_base.py"}, "SafeHtml": {"__init__.py", "sanitise.py", "styles.py", "figures.py"}}
MADE_BY = {"element", "fragment", "render", "in_root", "html", "_twin_bundle"}  # they escape every value
UNSAFE_CALLS = {"HTML", "Javascript", "IFrame", "Latex", "Markdown", "SVG", "display_html", "display_javascript"}
ACTIVE_TYPES = {"text/html", "application/javascript", "image/svg+xml", "text/markdown", "text/latex"}


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _calls_in(node: ast.AST | None) -> set[str]:
    return {_name(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)} if node else set()


def python_sinks(source: str, file: str) -> Iterator[str]:
    """Describe each place of a module where a text may become markup without being escaped."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield from _unsafe_call(node, file)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("_repr_") and node.name.endswith("_"):
            yield from _unescaped_returns(node)
        if isinstance(node, ast.Dict):
            yield from _active_values(node, source)


def _unsafe_call(node: ast.Call, file: str) -> Iterator[str]:
    name = _name(node.func)
    if name in UNSAFE_CALLS or file not in TRUSTED.get(name, {file}):
        yield f"{file}:{node.lineno} calls {name}"
    escapes = [item.value for item in node.keywords if item.arg == "autoescape"]
    if name == "Environment" and not any(isinstance(item, ast.Constant) and item.value is True for item in escapes):
        yield f"{file}:{node.lineno} templates without escaping"


def _unescaped_returns(function: ast.FunctionDef) -> Iterator[str]:
    if function.name in ("_repr_mimebundle_", "_repr_pretty_"):  # the bundle is a dict, and text
        return
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and not (isinstance(node.value, ast.Call) and _calls_in(node.value) & MADE_BY):
            yield f"{function.name}:{node.lineno} returns what no escaping made"


def _active_values(node: ast.Dict, source: str) -> Iterator[str]:
    made = {
        _name(target)
        for assignment in ast.walk(ast.parse(source))
        if isinstance(assignment, ast.Assign) and _calls_in(assignment.value) & MADE_BY
        for target in assignment.targets
    }
    for key, value in zip(node.keys, node.values):
        is_escaped = _calls_in(value) & MADE_BY or _name(value) in made
        if isinstance(key, ast.Constant) and key.value in ACTIVE_TYPES and not is_escaped:
            yield f"line {node.lineno}: {key.value} that no escaping made"


def test_no_module_of_ours_has_a_sink() -> None:
    paths = [*ROOT.glob("workbench/**/*.py"), *ROOT.glob("widgets/etabli_widgets/*.py")]
    sinks = [sink for path in paths for sink in python_sinks(path.read_text(encoding="utf-8"), path.name)]
    assert len(paths) > 150 and sinks == []


def test_no_notebook_and_no_template_of_ours_has_a_sink() -> None:
    for path in ROOT.glob("notebooks/**/*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "code" and not source.lstrip().startswith(("%", "!")):
                python = re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", source)
                assert list(python_sinks(python, path.name)) == []
    for path in ROOT.glob("workbench/**/*.j2"):
        tags = path.read_text(encoding="utf-8")
        assert "| safe" not in tags and "|safe" not in tags and "autoescape" not in tags, path


PLANTED_MODULE = """
HTML(text)
IPython.display.HTML(text)
display(Javascript(text))
IFrame(text, 1, 1)
Markup(text)
markup.SafeHtml(text)
Environment(loader=loader)
Environment(autoescape=False)
display({"text/html": text}, raw=True)
display({"text/html": f"<b>{text}</b>"}, raw=True)
display({"application/javascript": text}, raw=True)
class A: _repr_html_ = lambda self: HTML(text)
def _repr_html_(self): return text
def _repr_html_(self): return f"<b>{text}</b>"
def _repr_markdown_(self): return "".join(text)
""".strip().splitlines()


@pytest.mark.parametrize("line", PLANTED_MODULE)
def test_each_planted_sink_of_a_module_is_found(line: str) -> None:
    assert list(python_sinks(line, "planted.py"))
    assert not list(python_sinks('def _repr_html_(self): return element("b", text)', "planted.py"))

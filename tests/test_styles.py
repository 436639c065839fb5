"""No rule and no class of a widget reaches the page around it; tests/e2e/test_side_by_side.py measures the same."""

import re

import pytest

import etabli_widgets
from etabli_widgets._base import STATIC

SHEETS = {name: str(getattr(etabli_widgets, name)._css) for name in etabli_widgets.__all__}
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in STATIC.glob("*.js")}
GLOBAL_RULES = ("@import", "@font-face", "@keyframes", "@property", "@namespace", "@layer", ":root", "html", "*")

# Classes of front ends that our rules ask about: their theme, and the output that an HTML twin stands in.
OF_THE_PAGE = {"vscode-dark", "dark", "page", "jp-OutputArea", "jp-OutputArea-child", "jupyter-widgets"}
OF_THE_PAGE |= {"output", "cell_container"}


def without_comments(css):
    return re.sub(r"(?s)/\*.*?\*/", "", css)


def top_selectors(css):
    """Return the selectors of the rules that stand in no other rule, and the depth at the end."""
    selectors, depth, text = [], 0, ""
    for sign in without_comments(css):
        if sign == "{":
            selectors += [text.strip()] if depth == 0 else []
            depth, text = depth + 1, ""
        elif sign == "}":
            depth, text = depth - 1, ""
        elif depth == 0:
            text += sign
    return selectors, depth


def nested_selectors(css):
    """Return every selector below the outermost rule, one for each part between commas."""
    inner = without_comments(css).split("{", 1)[1]
    preludes = re.findall(r"(?s)([^{};]*)\{", inner)
    return [part.strip() for prelude in preludes for part in prelude.split(",")]


def kebab(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def unscoped(name, css):
    """Describe what of a style sheet holds outside of its widget's root element."""
    selectors, depth = top_selectors(css)
    wrong = [selector for selector in selectors if selector != f".etabli.etabli-{kebab(name)}"] + ["depth"] * depth
    wrong += [
        part for part in nested_selectors(css) if part.startswith(GLOBAL_RULES) or re.search(r"\.etabli\b(?!-)", part)
    ]
    wrong += [part for part in nested_selectors(css) if part.startswith("body") and "&" not in part]
    return wrong


@pytest.mark.parametrize("name", SHEETS)
def test_every_rule_holds_within_its_own_widget(name):
    assert unscoped(name, SHEETS[name]) == []
    assert len(nested_selectors(SHEETS[name])) > 20


@pytest.mark.parametrize(
    "rule", [".etabli-bar{}", "} .x {", "} body {", "@keyframes x {}", ".etabli p {}", "* {}", "body .x {}"]
)
def test_a_rule_that_reaches_further_is_found(rule):
    css = SHEETS["RunMonitor"]
    outside = rule.startswith(".etabli-bar")
    assert unscoped("RunMonitor", css + rule if outside else f"{css[:-1]}{rule}{'}' if rule.endswith('{') else ''}}}")


@pytest.mark.parametrize("name", SHEETS)
def test_classes_and_properties_carry_our_name(name):
    css = without_comments(SHEETS[name])
    classes = {*re.findall(r"\.([a-zA-Z][\w-]*)", " ".join(nested_selectors(css)))} - OF_THE_PAGE
    assert all(each.startswith("etabli-") for each in classes)
    assert all(each.startswith(("etabli-", "jp-")) for each in re.findall(r"--([\w-]+)", css))


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_touch_nothing_but_their_own_element(name):
    text = SCRIPTS[name]
    assert not re.search(
        r"document\.(body|head|documentElement|querySelector|getElement)|adoptedStyleSheets|\"style\"", text
    )
    given = re.findall(r"class(?:Name)?: \"([^\"]*)\"", text) + re.findall(r"classList\.\w+\(\"([^\"]*)\"", text)
    assert all(each.startswith("etabli-") for names in given for each in names.split())

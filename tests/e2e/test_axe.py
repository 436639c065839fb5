"""axe-core finds nothing to mend in a widget or a page.

It comes from npm when the tests run; without a registry they are skipped.
"""

import subprocess
import tarfile

import pytest
from bridged import Bench, geometry
from test_exports_are_readable import EXPORTS, book  # noqa: F401  (a fixture)
from widget_samples import SAMPLES

AXE = "axe-core@4.14.1"
# A widget is a part of a page: whether the page has a title, a main heading and a way past it is the front end's.
OF_THE_PAGE = ["page-has-heading-one", "bypass", "region", "landmark-one-main", "document-title"]
RUN = """async ([root, off]) => {
  const rules = Object.fromEntries(off.map((name) => [name, { enabled: false }]));
  const { violations } = await axe.run(root, { rules, resultTypes: ["violations"] });
  return violations.map((one) => [one.impact, one.id, one.nodes.slice(0, 3).map((node) => node.html.slice(0, 120))]);
}"""


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    """The text of axe-core's script."""
    folder = tmp_path_factory.mktemp("axe")
    command = ["npm", "pack", AXE, "--silent", "--fetch-retries=0"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"{AXE} can't be had from npm: {error}")
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        script = archive.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("samples")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", SAMPLES)
def test_axe_finds_nothing(browser, folder, axe, name, theme):
    bench = Bench(browser, theme)
    at = bench.mount(SAMPLES[name](folder), name)
    geometry(bench.page, at)
    bench.page.evaluate(axe)
    found = bench.page.evaluate(RUN, [f"#{at}", OF_THE_PAGE])
    bench.close()
    assert found == []


@pytest.mark.parametrize("name", ["our notebook page", "verdict", "report"])
def test_axe_finds_nothing_in_a_page(browser, book, tmp_path, axe, name):  # noqa: F811
    context = browser.new_context(bypass_csp=True)
    page = context.new_page()
    page.set_content(EXPORTS[name](book, tmp_path))
    page.evaluate(axe)
    found = page.evaluate(RUN, ["body", ["page-has-heading-one"] if "notebook" in name else []])
    context.close()
    assert found == []


def test_a_fault_is_found(browser, axe):
    bench = Bench(browser)
    bench.page.evaluate(axe)
    bench.page.evaluate("document.querySelector('#tab-1').append(document.createElement('input'))")
    found = bench.page.evaluate(RUN, ["#tab-1", OF_THE_PAGE])
    bench.close()
    assert "label" in [name for _, name, _ in found]

"""A real JupyterLab on 127.0.0.1 and Debian's Chromium, driven by Playwright."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from etabli.runs.run import Run
from own_cache import cache_in

SHOTS = Path(os.environ.get("ETABLI_SHOTS", "")) if os.environ.get("ETABLI_SHOTS") else None
RESULTS = os.environ.get("ETABLI_E2E")  # a JSON file for what was counted
ROUNDS = 20 if RESULTS else 2  # restarts, reloads, cuts
COUNTS: dict[str, object] = {}
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in Path(item.fspath).parents:
            item.add_marker(pytest.mark.e2e)
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="no Chromium: apt-get install chromium, or set CHROMIUM"))


def pytest_sessionfinish(session):
    """Write what the tests counted, and how many there were, into the file that ETABLI_E2E names."""
    if RESULTS and COUNTS:
        tests = {"tests": session.testscollected, "failed": session.testsfailed}
        Path(RESULTS).write_text(json.dumps({**tests, **COUNTS}, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@pytest.fixture
def count():
    """Return a function that keeps a figure for the file of results."""
    return COUNTS.__setitem__


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="session")
def cache(embedded, tmp_path_factory):
    """A cache with the embedded model in it and an owner file of its own."""
    return cache_in(tmp_path_factory.mktemp("lab-cache") / "cache")


@pytest.fixture(scope="session")
def lab(cache, tmp_path_factory):
    """(address, folder) of a running JupyterLab; the page's app object is exposed, so that tests can drive it."""
    root, home = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("home")
    port, token = free_port(), secrets.token_hex(16)
    env = {
        **os.environ,
        "ETABLI_CACHE": str(cache),
        "JUPYTER_TOKEN": token,
        "HF_HUB_OFFLINE": "1",
        "JUPYTER_CONFIG_DIR": str(home),
        "JUPYTERLAB_SETTINGS_DIR": str(home),
        "JUPYTERLAB_WORKSPACES_DIR": str(home),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--notebook-dir={root}", "--ServerApp.ip=127.0.0.1"]
    flags = [f"--port={port}", "--LabApp.expose_app_in_browser=True", "--allow-root", "--ServerApp.port_retries=0"]
    log = (home / "lab.log").open("wb")
    server = subprocess.Popen([*command, *flags], env=env, stdout=log, stderr=log)
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert server.poll() is None, (home / "lab.log").read_text()
        time.sleep(0.2)
    yield f"http://127.0.0.1:{port}", root, token
    for recipe in root.glob("runs/**/recipe.yaml"):  # a run outlives a test that failed, as runs do
        Run.attach(recipe.parent).stop()
    server.terminate()
    try:
        server.wait(20)  # it ends its kernels first; a busy one takes its time
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield started
        started.close()


@pytest.fixture
def bench(browser):
    """A page that mounts widgets without a server; in the end it had no error, and asked for nothing from elsewhere."""
    from bridged import Bench

    opened = Bench(browser)
    yield opened
    assert not opened.problems and not opened.asked
    opened.close()


class Notebook:
    """A notebook in JupyterLab: run it, restart its kernel, change the theme, look at it."""

    def __init__(self, page, name):
        self.page, self.name = page, name

    def command(self, name, **args):
        self.page.evaluate("([name, args]) => { window.jupyterapp.commands.execute(name, args) }", [name, args])

    def kernel(self):
        return "window.jupyterapp.shell.currentWidget.sessionContext"

    def ready(self):
        self.page.wait_for_function(f"{self.kernel()}?.session?.kernel?.status === 'idle'", timeout=60_000)

    def run_all(self):
        self.ready()
        self.command("notebook:run-all-cells")

    def interrupt(self):
        self.page.evaluate(f"{self.kernel()}.session.kernel.interrupt()")

    def restart(self):
        self.page.evaluate(f"{self.kernel()}.session.kernel.restart()")
        self.ready()

    def cells(self):
        return self.page.evaluate("window.jupyterapp.shell.currentWidget.content.widgets.length")

    def shot(self, name, locator=None):
        """Pictures are taken only when ETABLI_SHOTS names a folder for them."""
        if SHOTS:
            SHOTS.mkdir(parents=True, exist_ok=True)
            (locator or self.page).screenshot(path=SHOTS / f"{name}.png")

    def theme(self, name):
        self.page.evaluate("name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})", name)
        self.page.wait_for_timeout(700)


@pytest.fixture
def open_notebook(lab, browser):
    address, _, token = lab
    contexts = []

    def opened(name):
        context = browser.new_context(viewport={"width": 1280, "height": 1000})
        contexts.append(context)
        page = context.new_page()
        page.goto(f"{address}/lab/tree/{name}?reset&token={token}")
        page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.content?.widgets?.length > 0", timeout=60_000)
        return Notebook(page, name)

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def put_notebook(lab):
    """Copy a notebook of ours into the lab's folder, with other parameters."""
    import nbformat

    from etabli.app import notebooks

    root = lab[1]

    def put(name, **parameters):
        made = notebooks.with_parameters(notebooks.folder() / f"{name}.ipynb", parameters)
        nbformat.write(made, root / f"{name}.ipynb")
        return f"{name}.ipynb"

    return put

"""All widgets in another front end, in Chromium: do they live, is a message answered, does Stop reach the kernel, and
what is said when the kernel has ended? docs/frontends.md holds what came out.

    python -m venv /tmp/front && /tmp/front/bin/pip install notebook voila
    python benchmarks/front_ends.py notebook /tmp/front/bin/python
    python benchmarks/front_ends.py voila /tmp/front/bin/python

Colab's and Kaggle's ipywidgets, with the classic notebook (a path of site-packages lends the kernel etabli and torch):

    python -m venv /tmp/pins
    /tmp/pins/bin/pip install ipykernel==6.17.1 ipython==7.34.0 ipywidgets==7.7.1 traitlets==5.7.1 anywidget==0.9.21 \
        notebook==6.5.7 'setuptools<81' 'jupyter_client<8'
    python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > /tmp/pins/lib/python3.11/site-packages/lent.pth
    python benchmarks/front_ends.py classic /tmp/pins/bin/python --kernel /tmp/pins/bin/python
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import psutil
from playwright.sync_api import sync_playwright

import etabli_widgets

ROOT = Path(__file__).parents[1]
NAMES = etabli_widgets.__all__
LIVE = """names => names.filter((name) => document.querySelector(
    `.etabli-live.etabli-${name.replace(/(?<!^)([A-Z])/g, "-$1").toLowerCase()}`))"""
SERVERS = {
    "notebook": ["-m", "notebook", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--notebook-dir=."],
    "classic": ["-m", "notebook", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--notebook-dir=."],
    "voila": ["-m", "voila", "--no-browser", "--Voila.ip=127.0.0.1", "all.ipynb"],
}


def write_notebook(folder: Path) -> None:
    """Write a notebook that shows every widget."""
    paths = [str(ROOT / part) for part in ("widgets", "workbench", "tests", "tests/e2e")]
    first = f"import sys\nsys.path[:0] = {paths!r}\nfrom pathlib import Path\nfrom widget_samples import SAMPLES"
    cells = [first, *(f"SAMPLES[{name!r}](Path('.'))" for name in NAMES)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    code = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=code, metadata={"kernelspec": kernel}), folder / "all.ipynb")


def write_kernel(folder: Path, python: str) -> None:
    """Let the name ``python3`` mean this kernel."""
    spec = folder / "share/kernels/python3/kernel.json"
    spec.parent.mkdir(parents=True)
    command = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": command, "display_name": "python3", "language": "python"}))


@contextmanager
def serving(front_end: str, python: str, kernel: str, folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start the server; gives its address and process."""
    write_notebook(folder)
    write_kernel(folder, kernel)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = {
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_PATH": str(folder / "share"),
        "JUPYTER_TOKEN": "front",
    }
    with (folder / "server.log").open("wb") as log:
        command = [python, *SERVERS[front_end], f"--port={port}"]
        server = subprocess.Popen(command, cwd=folder, env={**os.environ, **home}, stdout=log, stderr=log)
        while server.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        try:
            place = "" if front_end == "voila" else "notebooks/all.ipynb?token=front"
            yield f"http://127.0.0.1:{port}/{place}", server
        finally:
            server.terminate()
            server.wait(30)


def run_cells(page: Any, front_end: str) -> None:
    """Run all cells; Voila has done so already."""
    if front_end == "notebook":
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        page.wait_for_timeout(5000)
        page.get_by_role("menuitem", name="Run").first.click()
        page.get_by_text("Run All Cells", exact=True).first.click()
    if front_end == "classic":
        page.wait_for_function("window.Jupyter?.notebook?.kernel?.is_connected()", timeout=60_000)
        page.wait_for_timeout(3000)
        page.evaluate("Jupyter.notebook.execute_all_cells()")


def live_widgets(page: Any) -> list[str]:
    """Scroll through the page until all widgets live, or two minutes have passed; returns their names."""
    scroll = """() => { const outer = document.querySelector(".jp-WindowedPanel-outer, #site");
        if (outer) outer.scrollTop = (outer.scrollTop + 700) % outer.scrollHeight; }"""
    until = time.monotonic() + 120
    while time.monotonic() < until and len(page.evaluate(LIVE, NAMES)) < len(NAMES):
        page.evaluate(scroll)
        page.wait_for_timeout(500)
    return list(page.evaluate(LIVE, NAMES))


def look(page: Any, server: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Return what a person would see: the living widgets, an answer, Stop, and what is said without a kernel."""

    def widget(name: str) -> Any:
        element = page.locator(f".etabli-live.etabli-{name}").first
        element.scroll_into_view_if_needed()
        return element

    seen: dict[str, Any] = {"live": live_widgets(page)}
    seen["twins beside"] = page.locator(".etabli-twin:visible").count()
    card = widget("verdict-card")
    card.locator(".etabli-number").first.click()
    page.wait_for_timeout(4000)  # after three seconds without an answer it would say so
    seen["answered"] = card.locator(".etabli-connection").is_hidden()
    monitor = widget("run-monitor")
    monitor.get_by_role("button", name="Stop run").click()
    page.wait_for_timeout(2000)
    seen["stop"] = monitor.locator(".etabli-state").inner_text()
    for child in psutil.Process(server.pid).children(recursive=True):
        if "ipykernel_launcher" in " ".join(child.cmdline()):
            child.kill()
    page.wait_for_timeout(1000)
    pairs = widget("threshold-pairs")
    pairs.get_by_role("slider").press("End")
    page.wait_for_timeout(5000)
    seen["kernel killed"] = pairs.locator(".etabli-connection").inner_text()
    return seen


def main() -> None:
    """Run one front end, and print what was seen as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("front_end", choices=SERVERS)
    parser.add_argument("python", help="the Python in whose environment the front end is installed")
    parser.add_argument("--kernel", default=sys.executable, help="the Python that runs the cells")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with (
        serving(chosen.front_end, chosen.python, chosen.kernel, folder) as (address, server),
        sync_playwright() as play,
    ):
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)[:200]))
        page.goto(address, timeout=120_000)
        run_cells(page, chosen.front_end)
        print(json.dumps({**look(page, server), "problems": problems}, indent=2))
        browser.close()


if __name__ == "__main__":
    main()

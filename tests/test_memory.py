"""The forecast against published peaks, against itself, and against what can be counted by hand."""

import json
from pathlib import Path

import pytest

from etabli.cli import main
from etabli.errors import BadInput, UnknownModel
from etabli.memory import cards
from etabli.memory.configs import KNOWN, config
from etabli.memory.forecast import _trace, _whole_models, forecast
from etabli.memory.setup import Setup

PUBLISHED = json.loads((Path(__file__).parent / "published_memory.json").read_text())
LLAMA = "meta-llama/Llama-3.1-8B"  # the sizes of Meta-Llama-3-8B
TINY = {
    "model_type": "llama", "vocab_size": 1000, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 5,
    "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETABLI_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def tiny_config(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    return str(tmp_path / "config.json")


def as_published(point):
    return Setup(4096, point["batch"], 16, "q_proj,k_proj,v_proj,o_proj", checkpointing="all", loss="chunked")


@pytest.fixture(scope="module")
def traced_once():
    """One process traces what the tests ask for one by one; the cache keeps it."""
    _whole_models(KNOWN[LLAMA], [*map(as_published, PUBLISHED["points"]), Setup(64)])


@pytest.mark.parametrize("point", PUBLISHED["points"], ids=lambda point: f"batch {point['batch']}")
def test_against_published_peaks(traced_once, point):
    peak = forecast(LLAMA, as_published(point))["peak"]
    assert peak["allocated"] == pytest.approx(point["allocated"], rel=0.03)
    assert peak["device"] == pytest.approx(point["device"] * cards.MIB, rel=0.05)


def test_layers_carry_on_in_a_line():
    setup = Setup(256, 2, 8)
    two, three, five = _trace(TINY, [(setup, 2), (setup, 3), (setup, 5)])
    for group in ("phases", "parts"):
        for name, size in five[group].items():
            carried = two[group][name] + 3 * (three[group][name] - two[group][name])
            assert size == pytest.approx(carried, rel=0.001), name


def test_weights_are_what_can_be_counted(traced_once):
    facts = KNOWN[LLAMA]
    width, inner, layers, vocabulary = (
        facts[n] for n in ("hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size")
    )
    keys = width // facts["num_attention_heads"] * facts["num_key_value_heads"]
    quantised = layers * (2 * width * width + 2 * width * keys + 3 * width * inner)
    adapters = layers * 16 * (2 * (width + width) + 2 * (width + keys) + 3 * (width + inner))
    parts = forecast(LLAMA, Setup(64))["components"]
    assert parts["quantised"] == pytest.approx(quantised * (0.5 + 1 / 64 + 4 / 16384), rel=0.001)
    assert parts["unquantised"] == pytest.approx(2 * 2 * vocabulary * width, rel=0.001)
    assert parts["adapters"] == parts["gradients"] == pytest.approx(4 * adapters, rel=0.001)
    assert parts["states"] == pytest.approx(8 * adapters, rel=0.001)


def test_what_should_save_memory_does():
    savings = [{"checkpointing": "all"}, {"checkpointing": "2"}, {"rank": 4}, {"trained": 0.1}]
    asked = [Setup(512, 2, **keys) for keys in ({}, *savings, {"engine": "trainer"})]
    plain, *less, more = (max(trace["phases"].values()) for trace in _whole_models(TINY, asked))
    assert all(peak < plain for peak in less) and plain < more
    assert less[0] < less[1]  # checkpointing on two of five layers saves less than on all


def test_a_card_that_is_too_small_gets_advice(tiny_config, capsys):
    told = forecast(tiny_config, Setup(4096, 8), "0.8")
    assert told["fits"] is False and told["advice"] and all(item["saves"] > 0 for item in told["advice"])
    assert told["largest"]["seq"] < 4096
    assert forecast(tiny_config, Setup(max(64, told["largest"]["seq"]), 8))["peak"]["device"] <= cards.total("0.8")
    with pytest.raises(SystemExit) as left:
        main(["memory", tiny_config, "--gpu", "0.8", "--seq", "4096", "--batch", "8", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert left.value.code == 1 and said == json.loads(json.dumps(told))
    assert {"peak", "phases", "components", "fits", "advice"} <= said.keys()


def test_parts_make_the_whole(tiny_config):
    told = forecast(tiny_config, Setup(512))
    inside = sum(size for name, size in told["components"].items() if name not in ("context", "fragmentation"))
    assert inside == told["peak"]["allocated"] == max(told["phases"].values())
    assert sum(told["components"].values()) == pytest.approx(told["peak"]["device"], abs=2)


@pytest.mark.parametrize(
    "keys", [{"engine": "x"}, {"seq": 0}, {"checkpointing": "some"}, {"trained": 0}, {"loss": "x"}]
)
def test_setups_that_are_none(keys):
    with pytest.raises(BadInput):
        Setup(**keys)


def test_models_and_cards_that_are_none(tmp_path, monkeypatch):
    monkeypatch.setattr("etabli.environment.hub_reachable", lambda: False)
    (tmp_path / "config.json").write_text("{}")
    for name in (str(tmp_path), "owner/unheard-of"):
        with pytest.raises(UnknownModel):
            config(name)
    with pytest.raises(BadInput, match="Unknown card"):
        cards.total("voodoo2")
    assert cards.total("RTX 3090") == 24576 * cards.MIB and cards.total("16") == 16 * 2**30

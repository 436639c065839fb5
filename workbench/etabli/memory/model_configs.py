"""A model's configuration, and nothing else of it: no weights are read or fetched."""

from pathlib import Path
from typing import Any

from etabli.core import folders, machine, parsing
from etabli.core.errors import GatedModel, UnknownModel
from etabli.models import embedded

_LLAMA3 = {"model_type": "llama", "vocab_size": 128256, "rms_norm_eps": 1e-5, "max_position_embeddings": 131072}
# Sizes that the models' own config.json state, for machines that do not reach the Hub.
KNOWN: dict[str, dict[str, Any]] = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": {
        "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "head_dim": 64,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True,
    },
    "meta-llama/Llama-3.2-1B": {
        **_LLAMA3, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 64, "tie_word_embeddings": True,
    },
    "meta-llama/Llama-3.1-8B": {
        **_LLAMA3, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "mistralai/Mistral-7B-v0.1": {
        "model_type": "mistral", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    },
}  # fmt: skip


def config(name: str) -> dict[str, Any]:
    """The configuration that a name stands for: ``default``, a folder, a ``config.json``, a known or a Hub model.

    Raises:
        UnknownModel: nothing there, or no configuration of a causal language model.
    """
    if name in ("default", embedded.NAME):
        return KNOWN[embedded.HUB_ID]
    path = Path(name).expanduser()
    path = folders.inside(path, "config.json") if path.is_dir() else path
    if path.is_file():
        return _read(path)
    if name in KNOWN or f"{name.removesuffix('-Instruct')}" in KNOWN:
        return KNOWN[name if name in KNOWN else name.removesuffix("-Instruct")]
    return _read(_from_hub(name))


def _read(path: Path) -> dict[str, Any]:
    try:
        held = parsing.read_json(path, parsing.LARGEST_CONFIG, lenient=True)
    except (OSError, ValueError) as error:
        raise UnknownModel(f"{path} can't be read as a configuration: {error}") from None
    if not isinstance(held, dict) or not isinstance(held.get("model_type"), str):
        raise UnknownModel(f"{path} is no configuration of a model: it has no model_type.")
    inner = held.get("text_config")
    if inner is not None and not (isinstance(inner, dict) and isinstance(inner.get("model_type"), str)):
        raise UnknownModel(f"{path} has a text_config that says no model_type.")
    return inner or held


def _from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import GatedRepoError

    if not machine.hub_reachable():
        known = ", ".join(KNOWN)
        raise UnknownModel(
            f"{name!r} is no folder or config.json, and the Hub can't be reached. Known without: {known}."
        )
    try:
        return Path(hf_hub_download(name, "config.json", token=machine.hub_token()))
    except GatedRepoError as error:
        raise GatedModel(f"{name} asks you to accept its licence first: https://huggingface.co/{name}") from error
    except Exception as error:
        raise UnknownModel(f"The Hub did not give the configuration of {name!r}: {error}") from error

"""The configuration of a model, without its weights: nothing else is read or downloaded."""

from pathlib import Path
from typing import Any

from etabli.core import folders, machine, parsing
from etabli.core.errors import GatedModel, UnknownModel
from etabli.models import embedded

_SIZE_NAMES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
_LLAMA3 = {"model_type": "llama", "vocab_size": 128256, "rms_norm_eps": 1e-5, "max_position_embeddings": 131072}
# The sizes in the models' own config.json, for machines that can't reach the Hub.
KNOWN_CONFIGS: dict[str, dict[str, Any]] = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": {
        "model_type": "llama",
        "vocab_size": 49152,
        **dict(zip(_SIZE_NAMES, (576, 1536, 30, 9, 3))),
        "head_dim": 64,
        "tie_word_embeddings": True,
    },
    "meta-llama/Llama-3.2-1B": {
        **_LLAMA3,
        **dict(zip(_SIZE_NAMES, (2048, 8192, 16, 32, 8))),
        "head_dim": 64,
        "tie_word_embeddings": True,
    },
    "meta-llama/Llama-3.1-8B": {**_LLAMA3, **dict(zip(_SIZE_NAMES, (4096, 14336, 32, 32, 8)))},
    "mistralai/Mistral-7B-v0.1": {
        "model_type": "mistral",
        "vocab_size": 32000,
        **dict(zip(_SIZE_NAMES, (4096, 14336, 32, 32, 8))),
    },
}


def load_config(name: str) -> dict[str, Any]:
    """Return the configuration of ``default``, a folder, a ``config.json``, a known model or a Hub model.

    Raises:
        UnknownModel: there is no configuration of a causal language model.
        GatedModel: the Hub asks for a licence to be accepted first.
    """
    if name in ("default", embedded.NAME):
        return KNOWN_CONFIGS[embedded.HUB_ID]
    path = Path(name).expanduser()
    path = folders.resolve_inside(path, "config.json") if path.is_dir() else path
    if path.is_file():
        return _read_config(path)
    for known_name in (name, name.removesuffix("-Instruct")):
        if known_name in KNOWN_CONFIGS:
            return KNOWN_CONFIGS[known_name]
    return _read_config(_download_config(name))


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = parsing.read_json(path, parsing.LARGEST_CONFIG, lenient=True)
    except (OSError, ValueError) as error:
        raise UnknownModel(f"{path} can't be read as a configuration: {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise UnknownModel(f"{path} is no configuration of a model: it has no model_type. Name a model's config.json.")
    text_config = config.get("text_config")
    if text_config is None:
        return config
    if not isinstance(text_config, dict) or not isinstance(text_config.get("model_type"), str):
        raise UnknownModel(f"{path} has a text_config without a model_type. Name a model's config.json.")
    return text_config or config


def _download_config(name: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import GatedRepoError

    if not machine.hub_reachable():
        raise UnknownModel(
            f"{name!r} is no folder or config.json, and the Hub can't be reached. Known without the Hub: "
            f"{', '.join(KNOWN_CONFIGS)}."
        )
    try:
        return Path(hf_hub_download(name, "config.json", token=machine.hub_token()))
    except GatedRepoError as error:
        raise GatedModel(f"{name} asks you to accept its licence first: https://huggingface.co/{name}") from error
    except Exception as error:
        raise UnknownModel(f"The Hub did not give the configuration of {name!r}: {error}") from error

"""What is open about a model, according to its own files."""

import math
import re
from collections.abc import Mapping
from pathlib import Path

from etabli.core import parsing
from etabli.models.sources import DEFAULT, resolve

NOT_STATED = "not stated"


def facts(name: str = DEFAULT) -> dict[str, object]:
    """Return a model's weights, licence, training data, code, parameters, context and languages.

    They come from the front matter of its card, its configuration and the headers of its weights. The value is
    "not stated" where these say nothing.

    Raises:
        UnknownModel, GatedModel, Damaged: see ``sources.resolve``.
    """
    source = resolve(name)
    config = parsing.read_json(source.folder / "config.json", parsing.LARGEST_CONFIG, lenient=True)
    card = _card(source.folder)
    return {
        "name": source.name,
        "hash": source.hash,
        "weights": "open (safetensors)",
        "licence": card.get("license_name") or card.get("license") or NOT_STATED,
        "training_data": card.get("datasets") or NOT_STATED,
        "code": _link(card, "code") or NOT_STATED,
        "languages": card.get("language") or NOT_STATED,
        "parameters": _parameters(source.folder) or NOT_STATED,
        "context": config.get("max_position_embeddings") or NOT_STATED,
        "architecture": (config.get("architectures") or [NOT_STATED])[0],
        "chat_template": _has_template(source.folder),
    }


def _card(folder: Path) -> dict[str, object]:
    try:
        text = parsing.read_text(folder / "README.md")
        match = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
        card = parsing.parse_yaml(match[1]) if match else {}
    except (OSError, parsing.ParseError):
        return {}
    return card if isinstance(card, dict) else {}


def _link(card: Mapping[str, object], key: str) -> str | None:
    value = card.get(key) or card.get("repository")
    return value if isinstance(value, str) else None


def _parameters(folder: Path) -> int | None:
    """Count parameters in the headers of the weight files; tied weights are stored, and counted, once."""
    from safetensors import safe_open

    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="numpy") as weights:
            for key in weights.keys():  # noqa: SIM118 (not a dict)
                total += math.prod(weights.get_slice(key).get_shape())
    return total or None


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    try:
        return "chat_template" in parsing.read_json(
            folder / "tokenizer_config.json", parsing.LARGEST_CONFIG, lenient=True
        )
    except (OSError, ValueError):
        return False

"""What is open about a model, according to its own files, and which file and field say so."""

import contextlib
import math
import re
from collections.abc import Mapping
from pathlib import Path

from etabli.core import parsing
from etabli.models import licence_terms
from etabli.models.sources import DEFAULT, resolve

NOT_STATED = "not stated"
CARD = "README.md"


def facts(name: str = DEFAULT) -> dict[str, object]:
    """Return a model's weights, licence, training data, code, parameters, context and languages.

    They come from the front matter of its card, its configuration and the headers of its weights. The value is
    "not stated" where these say nothing. ``licence_terms`` is open, restricted or unknown, by the licence's name, and
    the weights are as open as their licence. ``evidence`` names the file and the field for each of the first four.

    Raises:
        UnknownModel, GatedModel, Damaged: see ``sources.resolve``.
    """
    source = resolve(name)
    config = parsing.read_json(source.folder / "config.json", parsing.LARGEST_CONFIG, lenient=True)
    card = _card(source.folder)
    return {
        "name": source.name,
        "hash": source.hash,
        **_openness(source.folder, card),
        "languages": card.get("language") or NOT_STATED,
        "parameters": _parameters(source.folder) or NOT_STATED,
        "context": config.get("max_position_embeddings") or NOT_STATED,
        "architecture": (config.get("architectures") or [NOT_STATED])[0],
        "chat_template": _has_template(source.folder),
    }


def _card(folder: Path) -> dict[str, object]:
    try:
        text = parsing.read_text(folder / CARD)
        match = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
        card = parsing.parse_yaml(match[1]) if match else {}
    except (OSError, parsing.ParseError):
        return {}
    return card if isinstance(card, dict) else {}


def _openness(folder: Path, card: Mapping[str, object]) -> dict[str, object]:
    """Return weights, licence, its terms, training data and code, and the evidence for them."""
    licence, licence_evidence = _licence(folder, card)
    data, data_evidence = _field(card, ("datasets",), (list, str))
    code, code_evidence = _field(card, ("code", "repository"), (str,))
    terms = NOT_STATED if licence == NOT_STATED else licence_terms.classify(str(licence))
    files = sorted(path.name for path in folder.glob("*.safetensors"))
    count = "1 file" if len(files) == 1 else f"{len(files)} files"
    gate = "extra_gated_prompt" if "extra_gated_prompt" in card else None
    return {
        "weights": f"{terms if terms != NOT_STATED else 'licence not stated'} ({count} of safetensors)",
        "licence": licence,
        "licence_terms": terms,
        "training_data": data,
        "code": code,
        "evidence": {
            "weights": f"{', '.join(files[:3])}; {f'{CARD}: {gate}; ' if gate else ''}licence: {licence_evidence}",
            "licence": licence_evidence,
            "training_data": data_evidence,
            "code": code_evidence,
        },
    }


def _licence(folder: Path, card: Mapping[str, object]) -> tuple[object, str]:
    """Return the licence's name, and what says so: the card, or else the text of a file LICENSE."""
    name, evidence = _field(card, ("license_name", "license"), (list, str))
    if name != NOT_STATED:
        return name, evidence
    for path in sorted(folder.glob("LICENSE*")):
        with contextlib.suppress(OSError, parsing.ParseError):
            if recognised := licence_terms.recognise(parsing.read_text(path)):
                return recognised, f"{path.name}: its text"
    return NOT_STATED, NOT_STATED


def _field(card: Mapping[str, object], names: tuple[str, ...], kinds: tuple[type, ...]) -> tuple[object, str]:
    """Return the value of the first of these fields that the card has, and file and field; else "not stated"."""
    name = next((name for name in names if card.get(name) and isinstance(card[name], kinds)), None)
    return (card[name], f"{CARD}: {name}") if name else (NOT_STATED, NOT_STATED)


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

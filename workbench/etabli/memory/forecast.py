"""What a run will take: traced on a few layers, carried on to all, put on a card, and what would make it fit."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

from etabli import environment, storage
from etabli.errors import BadInput
from etabli.memory import cards
from etabli.memory.configs import config as read_config
from etabli.memory.setup import Setup

LAYERS = (2, 3)  # traced; every phase is linear in the number of layers
# Beyond what tensors hold, a card needs the CUDA context and what the allocator can't reuse. Fitted on half of the
# published pairs of max_memory_allocated and nvidia-smi (tests/published_memory.json), tested on the other half.
CONTEXT = 2**29
SPILL = 1.10
LOGITS_SPILL = 5.5  # bytes a logit: large, short-lived blocks that leave holes
CHUNK = 1024  # tokens whose logits exist at once when the loss is taken in chunks
CHUNK_LOGIT = 12  # bytes a logit of such a chunk: bf16, two in float32, and the gradient


def forecast(model: str, setup: Setup, gpu: str | None = None) -> dict[str, Any]:
    """Peak memory of a run before it starts. No weights are needed.

    Args:
        model: ``default``, a folder, a ``config.json``, or a Hub model.
        setup: sequence, batch, rank and the rest.
        gpu: a card, a number of GB, or ``here``: then it says whether that is enough, and what would help.

    Returns:
        Bytes: ``peak`` (``allocated``: tensors; ``device``: as nvidia-smi would show), ``phases``, ``components`` at
        the peak; ``fits``, ``advice`` and ``largest`` if a card is named.

    Raises:
        UnknownModel: no configuration; BadInput: an unknown card, or an architecture that can't be built.
    """
    facts = read_config(model)
    limit = cards.total(gpu) if gpu else None
    variants = _variants(setup) if limit else []
    half = replace(setup, seq=max(1, setup.seq // 2))
    wanted = [setup, *([half] if limit else []), *(variant for _, variant, _ in variants)]
    traces = _whole_models(facts, wanted)
    told = _told(facts, setup, traces[0])
    told |= {"model": model, "setup": setup.keys(), "basis": _basis(facts)}
    if limit:
        told |= _fitting(facts, setup, told, limit, gpu, variants, traces)
    else:
        told |= {"fits": None, "advice": []}
    return told


def _basis(facts: dict[str, Any]) -> str:
    return (
        f"traced on {LAYERS[0]} and {LAYERS[1]} of {facts['num_hidden_layers']} layers with the libraries installed "
        f"here; the card's line is allocated x {SPILL} + {CONTEXT / 2**30:.1f} GiB + {LOGITS_SPILL} bytes a whole logit"
    )


def _told(facts: dict[str, Any], setup: Setup, trace: dict[str, dict[str, int]]) -> dict[str, Any]:
    phases, parts = dict(trace["phases"]), trace["parts"]
    loss = _logits(facts, setup)
    if setup.loss == "chunked":  # a chunk's logits come and go before the layers' backward begins
        phases |= {name: phases[name] + loss for name in ("forward", "evaluation")}
    phases["forward"] += _workspace(facts)
    standing = sum(parts[name] for name in ("quantised", "unquantised", "adapters"))
    phases = {
        "load": standing - parts["adapters"] + _workspace(facts),
        **phases,
        "generation": standing + _cache(facts, setup),
    }
    peak_phase = max(phases, key=phases.__getitem__)
    allocated = phases[peak_phase]
    spill = LOGITS_SPILL * loss / CHUNK_LOGIT if setup.loss == "full" else 0
    device = round(allocated * SPILL + CONTEXT + spill)
    return {
        "peak": {"allocated": allocated, "device": device, "phase": peak_phase},
        "phases": phases,
        "components": _components(parts, allocated, loss if setup.loss == "full" else 0, facts, device),
        "notes": _notes(facts),
    }


def _components(parts: dict[str, int], allocated: int, loss: int, facts: dict[str, Any], device: int) -> dict[str, int]:
    """Bytes at the peak. Logits are counted in full, activations are what is left."""
    known = {name: parts[name] for name in ("quantised", "unquantised", "adapters", "gradients", "states")}
    known["workspace"] = _workspace(facts)
    left = max(0, allocated - sum(known.values()))
    known["logits"] = min(loss, left)
    known["activations"] = left - known["logits"]
    known["context"] = CONTEXT
    return known | {"fragmentation": max(0, device - allocated - CONTEXT)}


def _logits(facts: dict[str, Any], setup: Setup) -> int:
    share = setup.trained if setup.engine == "etabli" else 1.0
    tokens = min(CHUNK, setup.tokens) if setup.loss == "chunked" else round(setup.tokens * share)
    return CHUNK_LOGIT * facts["vocab_size"] * tokens


def _workspace(facts: dict[str, Any]) -> int:
    """The largest matrix, dequantised to 16 bits while it is used."""
    return 2 * facts["hidden_size"] * max(facts.get("intermediate_size") or 0, facts["hidden_size"])


def _cache(facts: dict[str, Any], setup: Setup) -> int:
    heads = facts.get("num_key_value_heads") or facts["num_attention_heads"]
    width = facts.get("head_dim") or facts["hidden_size"] // facts["num_attention_heads"]
    return 2 * 2 * facts["num_hidden_layers"] * heads * width * setup.tokens


def _notes(facts: dict[str, Any]) -> list[str]:
    experts = facts.get("num_local_experts") or facts.get("num_experts")
    if not experts:
        return []
    return [
        f"{experts} experts: where transformers fuses them, bitsandbytes leaves their weights in 16 bits, not in 4."
    ]


# --- traces -----------------------------------------------------------------------------------------------------------


def _whole_models(facts: dict[str, Any], wanted: list[Setup]) -> list[dict[str, dict[str, int]]]:
    """A trace of the whole model for each setup, from traces of a few layers; known ones are read from the cache."""
    layers = facts.get("num_hidden_layers")
    if not isinstance(layers, int) or layers < 1:
        raise BadInput("This configuration does not say num_hidden_layers, so nothing can be forecast from it.")
    asked = [(end, count) for setup in wanted for end in _ends(setup) for count in LAYERS]
    cached = {pair: _cached(facts, *pair) for pair in asked}
    missing = [pair for pair in dict.fromkeys(asked) if cached[pair] is None]
    for pair, made in zip(missing, _trace(facts, missing)) if missing else ():
        cached[pair] = made
        storage.write_json(_place(facts, *pair), made)
    whole = {end: _carried_on(*(cached[end, count] for count in LAYERS), layers) for end, _ in asked}
    return [_between(setup, [whole[end] for end in _ends(setup)], layers) for setup in wanted]


def _ends(setup: Setup) -> list[Setup]:
    """What has to be traced for a setup: with checkpointing on some of the layers, on none and on all of them."""
    if not setup.checkpointing.isdigit():
        return [setup]
    return [replace(setup, checkpointing=name) for name in ("none", "all")]


def _between(setup: Setup, ends: list[dict], layers: int) -> dict[str, dict[str, int]]:
    """The one trace, or as far between the two as layers are checkpointed: each holds its own share."""
    one, other = ends[0], ends[-1]
    share = setup.checkpointed(layers) / layers
    return {
        group: {name: round(size + (other[group][name] - size) * share) for name, size in one[group].items()}
        for group in one
    }


def _carried_on(one: dict, more: dict, layers: int) -> dict[str, dict[str, int]]:
    steps = (layers - LAYERS[0]) / (LAYERS[1] - LAYERS[0])
    return {
        group: {name: round(size + (more[group][name] - size) * steps) for name, size in one[group].items()}
        for group in ("phases", "parts")
    }


def _trace(facts: dict[str, Any], pairs: list[tuple[Setup, int]]) -> list[dict]:
    request = {"config": facts, "asked": [[setup.keys(), count] for setup, count in pairs]}
    done = subprocess.run(
        [sys.executable, "-m", "etabli.memory.trace"], input=json.dumps(request), capture_output=True, text=True
    )
    if done.returncode:
        why = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise BadInput(f"A step of this model ({facts['model_type']}) can't be traced: {why}")
    return json.loads(done.stdout)


def _place(facts: dict[str, Any], setup: Setup, layers: int):
    versions = environment.versions()
    said = json.dumps([facts, setup.keys(), layers, versions], sort_keys=True, default=str)
    return environment.cache_folder() / "memory" / f"{hashlib.sha256(said.encode()).hexdigest()[:24]}.json"


def _cached(facts: dict[str, Any], setup: Setup, layers: int) -> dict | None:
    try:
        return json.loads(_place(facts, setup, layers).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


# --- does it fit, and what would help ---------------------------------------------------------------------------------


def _variants(setup: Setup) -> list[tuple[str, Setup, str]]:
    """(change, setup, what it costs), the cheapest first."""
    found = [
        ("seq", replace(setup, seq=max(1, setup.seq // 2)), "rows longer than that are cut"),
        ("checkpointing", replace(setup, checkpointing="all"), "every layer runs twice: about a third slower"),
        ("rank", replace(setup, rank=max(1, setup.rank // 2)), "half the adapter"),
        ("optimizer", replace(setup, optimizer="adamw8bit"), "8-bit optimiser states; no slower"),
    ]
    if setup.batch > 1:
        found.insert(0, ("batch", replace(setup, batch=1), "accumulate more; the same steps, somewhat slower"))
    if setup.engine == "trainer":
        found.append(("loss", replace(setup, loss="chunked"), "needs a fused or chunked loss kernel"))
    return [(name, variant, cost) for name, variant, cost in found if variant != setup]


def _fitting(
    facts: dict[str, Any], setup: Setup, told: dict[str, Any], limit: int, gpu: str, variants: list, traces: list
) -> dict[str, Any]:
    now = told["peak"]["device"]
    advice = []
    for (name, variant, cost), trace in zip(variants, traces[2:]):
        device = _told(facts, variant, trace)["peak"]["device"]
        change = f"{name} {getattr(setup, name)} → {getattr(variant, name)}"
        advice.append(
            {"change": change, "device": device, "saves": now - device, "cost": cost, "fits": device <= limit}
        )
    half = _told(facts, replace(setup, seq=max(1, setup.seq // 2)), traces[1])["peak"]["device"]
    return {
        "gpu": {"name": gpu, "total": limit},
        "fits": now <= limit,
        "advice": [] if now <= limit else [item for item in advice if item["saves"] > 0],
        "largest": _largest(setup, now, half, limit),
    }


def _largest(setup: Setup, now: int, half: int, limit: int) -> dict[str, int]:
    """The longest row at this batch, and the most rows of this length: memory is linear in tokens."""
    a_token = (now - half) / max(1, (setup.seq - max(1, setup.seq // 2)) * setup.batch)
    tokens = setup.tokens + (limit - now) / a_token if a_token > 0 else 0
    return {"seq": max(0, int(tokens / setup.batch) // 64 * 64), "batch": max(0, int(tokens // setup.seq))}

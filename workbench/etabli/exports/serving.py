"""What to type to serve an export with vLLM or ``transformers serve``, what memory that takes, and vLLM's limits."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from etabli.core import parsing, storage
from etabli.exports import merge
from etabli.exports.modelfile import CONTEXT
from etabli.models import adapters
from etabli.runs.run import Run

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

MERGED, ADAPTER, PAGE = "merged", "adapter", "SERVE.md"
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # vLLM's --max-lora-rank (MaxLoRARanks of vllm/config/lora.py)
CARD_SHARE = 0.9  # of the card's memory, which vLLM takes unless it is told otherwise (--gpu-memory-utilization)


def list_lora_limits(run: Run) -> list[str]:
    """Return what vLLM refuses of the run's adapter; its checks: ``PEFTHelper`` of vllm/lora/peft_helper.py."""
    values = adapters.read_config(run.adapter).values
    names = values.get("target_modules")
    ends = [name for name in names if name in ("embed_tokens", "lm_head")] if isinstance(names, list) else []
    reasons = {
        f"rank {_rank(run)} is above {RANKS[-1]}": _rank(run) > RANKS[-1],
        "DoRA": values.get("use_dora"),
        "biases": values.get("bias", "none") != "none" or values.get("lora_bias"),
        "whole modules beside LoRA (modules_to_save)": values.get("modules_to_save"),
        "tokens of their own (trainable_token_indices)": values.get("trainable_token_indices"),
        f"updates of {' and '.join(ends)}": ends,
    }
    found = [reason for reason, holds in reasons.items() if holds]
    return [f"vLLM serves no adapter with {', '.join(found)}: serve the merged model."] if found else []


def _rank(run: Run) -> int:
    values = adapters.read_config(run.adapter).values
    pattern = values.get("rank_pattern")
    ranks = [values.get("r"), *(pattern.values() if isinstance(pattern, dict) else [])]
    return max((rank for rank in ranks if isinstance(rank, int)), default=1)


def write_vllm(run: Run, folder: Path) -> None:
    """Write the merged model, the adapter alone, and ``SERVE.md``: what to type for each."""
    for name in (MERGED, ADAPTER):
        (folder / name).mkdir()
    merge.write_merged(run, folder / MERGED, merge.TRAINED)
    merge.write_adapter(run, folder / ADAPTER)
    storage.write_text(folder / PAGE, _page(run, folder))


def _page(run: Run, folder: Path) -> str:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder / MERGED, trust_remote_code=False)
    base = parsing.read_json(folder / ADAPTER / adapters.CONFIG, parsing.LARGEST_CONFIG)["base_model_name_or_path"]
    weights = sum(path.stat().st_size for path in (folder / MERGED).glob("*.safetensors"))
    wanted = max(CONTEXT, run.recipe.max_length)
    context = min(wanted, getattr(config.get_text_config(), "max_position_embeddings", wanted))
    name = shlex.quote(run.name)
    cache = context * cache_bytes(config)
    place = ", a folder of the machine where it was trained" if adapters.is_path(run.recipe.model) else ""
    rank = next((rank for rank in RANKS if rank >= _rank(run)), RANKS[-1])
    needed = (weights + cache) / CARD_SHARE / 1e9
    as_adapter = list_lora_limits(run) or [
        "```console",
        f"$ vllm serve {shlex.quote(base)} --enable-lora --max-lora-rank {rank} --lora-modules {name}={ADAPTER}",
        "```",
        "",
        f"Its base is {base} in 16 bits{place}. The adapter was trained and judged on its 4-bit values, so the "
        "answers drift from what was judged: seal it as `merged:original`.",
    ]
    return "\n".join(
        [
            f"# Serve {run.name}",
            "",
            "The merged model:",
            "",
            "```console",
            f"$ vllm serve {MERGED} --served-model-name {name} --max-model-len {context}",
            f"$ transformers serve {MERGED}",
            "```",
            "",
            "The adapter over its base:",
            "",
            *as_adapter,
            "",
            f"**Memory**: {weights / 1e9:.2f} GB of weights and {cache / 1e9:.3f} GB for the keys and values of one "
            f"conversation of {context:,} tokens in 16 bits; {needed:.2f} GB with vLLM's default of 90 % of the card, "
            "without its own overhead. Computed from the files, not measured.",
            "",
        ]
    )


def cache_bytes(config: "PreTrainedConfig") -> int:
    """Return the bytes of one token's keys and values in 16 bits, in a model whose layers all attend to all tokens."""
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return int(2 * 2 * text.num_hidden_layers * heads * width)

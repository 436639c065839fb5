"""An adapter's folder, whoever made it: which base it belongs to, whether all of it fits, whether it changes anything.

The folder is data. Its ``adapter_config.json`` is read once, checked here, and nothing that it names is imported.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from etabli.core import folders, parsing, storage
from etabli.core.contracts import MANIFEST
from etabli.core.errors import EtabliError, WrongAdapter
from etabli.models import adapter_files, adapter_values, embedded, headers, sources
from etabli.models.module_names import is_target
from etabli.models.sources import Source

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

CONFIG = adapter_values.CONFIG
BASE_FACTS = "base.json"  # in an adapter's folder: which base it was trained on
# Their first step rewrites the base's own weights, so the adapter fits no base that anybody has.
_BASE_REWRITERS = ("pissa", "olora", "corda", "loftq", "lora_ga")
# A change of a weight below it is lost: float32 has seven digits, and weights are of the order 0.01.
NIL_CHANGE = 1e-9
_SHOWN = 3  # names of tensors or modules in a message


@dataclass(frozen=True)
class AdapterConfig:
    """What an adapter's folder says of itself: PEFT's configuration, and name and hash of its base if they are said."""

    folder: Path
    values: Mapping[str, object]  # JSON, as a stranger wrote it
    base_name: str | None
    base_hash: str | None

    @property
    def base_text(self) -> str:
        """What the folder says of its base, as the end of a sentence: ``was trained on X``."""
        digest = f" ({self.base_hash[:12]}…)" if self.base_hash else ""
        if self.base_name:
            return f"was trained on {self.base_name}{digest}"
        return f"was trained on another base{digest}" if digest else "does not say on which base it was trained"

    @property
    def scale(self) -> float:
        """LoRA's alpha, which every update is multiplied with; 1 where it is no number."""
        alpha = self.values.get("lora_alpha")
        return float(alpha) if isinstance(alpha, int | float) else 1.0


def read_config(adapter: str | Path) -> AdapterConfig:
    """Read an adapter's configuration, after checking that all files of its folder may be read.

    Raises:
        WrongAdapter: it is no adapter, or of a kind that can't be put on a base and taken off again.
        Damaged: it was altered since it was saved; OutsideFolder: a link in it leads outside.
    """
    adapter = Path(adapter)
    if not (adapter / CONFIG).is_file():
        raise WrongAdapter(f"{adapter} holds no adapter: it has no {CONFIG}.")
    folders.list_files(adapter)
    if (adapter / MANIFEST).is_file():
        storage.verify(adapter)
    headers.require_valid_files(adapter)
    values, facts = (_read_mapping(adapter / name) for name in (CONFIG, BASE_FACTS))
    name = facts.get("name") or values.get("base_model_name_or_path")
    digest = facts.get("hash")
    config = AdapterConfig(adapter, values, str(name) if name else None, str(digest) if digest else None)
    _require_known_kind(config)
    return config


def _read_mapping(path: Path) -> Mapping[str, object]:
    with contextlib.suppress(OSError, ValueError):
        value = parsing.read_json(path, parsing.LARGEST_CONFIG, lenient=True)
        return value if isinstance(value, dict) else {}
    return {}


def _require_known_kind(config: AdapterConfig) -> None:
    """Refuse an adapter that imports modules (``megatron_config``), that is no LoRA, or that rewrote its base."""
    values, adapter = config.values, config.folder
    if values.get("megatron_config"):
        raise WrongAdapter(
            f"{adapter} asks PEFT to import {values.get('megatron_core')!r} (megatron_config), which is never "
            f"done: remove megatron_config from its {CONFIG}, or take another adapter."
        )
    if (kind := values.get("peft_type", "LORA")) != "LORA":
        raise WrongAdapter(
            f"{adapter} is an adapter of PEFT's kind {parsing.short_repr(kind)}; only LORA is judged and exported "
            "(rsLoRA and DoRA are of that kind). Merge it where it was made (merge_and_unload), and judge the model."
        )
    start = values.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_BASE_REWRITERS):
        raise WrongAdapter(
            f"{adapter} began with init_lora_weights {start!r}, which rewrites the base: on the base itself it would "
            "be another model. Convert it where it was made: save_pretrained(..., "
            "path_initial_model_for_weight_conversion=...)."
        )
    if values.get("layer_replication"):
        raise WrongAdapter(
            f"{adapter} repeats layers of its base (layer_replication "
            f"{parsing.short_repr(values['layer_replication'])}): the base that it is compared with would be another "
            "model. Merge it where it was made (merge_and_unload), and judge the model."
        )
    adapter_values.require_valid_values(adapter, values)


def check_adapter(adapter: str | Path, source: Source, base_named: bool = False) -> AdapterConfig:
    """Check that a folder is a complete adapter for this base, and return its configuration.

    Args:
        base_named: a person said that this is the base (``--base``); then the name in the folder does not decide, but
            a hash still does.

    Raises:
        WrongAdapter: it is no adapter, has pickles only, or belongs to another base.
        Damaged: it was altered since it was saved, or holds NaN or infinity.
        OutsideFolder: a link in it leads outside.
    """
    config = read_config(adapter)
    if not _belongs_to(config, source, base_named):
        load_text = f"Load it with models.load({config.base_name!r}, adapter=...)" if config.base_name else ""
        base_text = "" if config.base_hash else f"say that this is its base: --base {source.name}"
        next_step = ", or ".join(filter(None, (load_text, base_text))) or "Name that base: --base MODEL"
        raise WrongAdapter(f"{adapter} {config.base_text}, not on {source.name} ({source.hash[:12]}…). {next_step}.")
    adapter_files.check_files(adapter)
    return config


def _belongs_to(config: AdapterConfig, source: Source, base_named: bool) -> bool:
    if config.base_hash:
        return config.base_hash == source.hash
    return base_named or config.base_name in (None, source.name, str(source.folder))


def public_name(source: Source) -> str:
    """Return the name under which others find a base: the embedded model is the Hub's, read from a package."""
    return embedded.HUB_ID if source.name == embedded.NAME else source.name


def find_base(config: AdapterConfig, named_base: str | None = None) -> str:
    """Return the name of an adapter's base, as ``sources.resolve`` takes it.

    The order: what the person names; the name in the folder; the embedded model, if its hash is the one in the folder.
    A path in the folder is followed only if the weights there have the hash that the folder says: who can write that
    hash has the weights already.

    Raises:
        WrongAdapter: no base is found; says what the folder names, and how to name it (``--base``).
    """
    if named_base:
        return named_base
    name, cause = config.base_name, ""
    if name and (config.base_hash or not is_path(name)):
        try:
            if config.base_hash in (None, sources.resolve(name).hash):
                return name
            cause = f", whose weights have another hash than its {BASE_FACTS} says"
        except EtabliError as error:
            cause = f" ({str(error).rstrip('.')})"
    if config.base_hash and embedded.is_cached() and sources.resolve(embedded.NAME).hash == config.base_hash:
        return embedded.NAME
    cause = f"it names {parsing.short_repr(name)}{cause}" if name else "it names none"
    if name and is_path(name):
        cause += ", a path, which is followed only where the weights there have the hash in its base.json"
    raise WrongAdapter(
        f"The base of {config.folder} is not found: {cause}. Say where the base is: --base MODEL (a Hub id, a folder, "
        "or default), in Python etabli.open_adapter(folder, base=...)."
    )


def is_path(name: str) -> bool:
    """Return whether a model's name is a place on a machine."""
    return name.startswith(("/", ".", "~")) or "\\" in name or Path(name).is_dir()


def put_on(
    model: "PeftModel | PreTrainedModel", config: AdapterConfig, adapter_name: str = "default"
) -> tuple["PeftModel", list[str]]:
    """Put an adapter on a base, or one more on a PEFT model; returns the PEFT model, and notes for the reader.

    Raises:
        WrongAdapter: a pattern that takes too long, a target that the base has not, weights that have no place in it,
        that are missing, or that replace the base's own.
    """
    from peft import LoraConfig, PeftModel, PeftModelForCausalLM

    names = [name for name, _ in model.named_modules()]
    adapter_files.require_fast_patterns(config.folder, names, config.values)
    _refuse_base_weights(model, config)
    try:
        if isinstance(model, PeftModel):
            result = model.load_adapter(str(config.folder), adapter_name=adapter_name, is_trainable=False)
        else:
            peft_config = LoraConfig.from_pretrained(str(config.folder))
            peft_config.inference_mode = True
            model = PeftModelForCausalLM(model, peft_config, adapter_name)
            result = model.load_adapter(str(config.folder), adapter_name=adapter_name, is_trainable=False)
    except (ValueError, TypeError, RuntimeError, KeyError) as error:
        raise WrongAdapter(
            f"{config.folder} does not fit this base: {_first_cause(error)} It {config.base_text}: say --base with "
            "the model that it was trained on."
        ) from None
    _require_all_weights(config, list(result.unexpected_keys), list(result.missing_keys))
    return model, list_notes(config, names)


def _first_cause(error: Exception) -> str:
    """The line of PEFT's error that names the cause: torch writes a heading above the sizes that do not fit."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    line = next((line for line in lines if "size mismatch" in line), lines[0])
    return line[:300].rstrip(".") + "."


def _refuse_base_weights(model: "PeftModel | PreTrainedModel", config: AdapterConfig) -> None:
    """Refuse weights that are the base's own: loading would change the base too, which it is compared with."""
    own = {_own_name(name) for name, _ in (*model.named_parameters(), *model.named_buffers())}
    copies = config.values.get("modules_to_save")
    copies = copies if isinstance(copies, list) else []
    replaced = [
        name
        for name in adapter_files.tensor_names(config.folder)
        if (key := _own_name(name)) in own and not _is_in_copy(key, copies)
    ]
    if replaced:
        raise WrongAdapter(
            f"{config.folder} holds {len(replaced)} tensors of the base itself ({_first(replaced)}), as for a "
            "vocabulary that was enlarged or biases that were trained: loaded, they would change the base that it is "
            "compared with. Merge it where it was made (merge_and_unload), and judge the model."
        )


def _own_name(name: str) -> str:
    """The name that a tensor has in the base without adapters."""
    return name.removeprefix("base_model.model.").replace(".base_layer", "").replace(".original_module", "")


def _is_in_copy(name: str, copies: list[str]) -> bool:
    """Is a tensor in a module that the adapter has a copy of (``modules_to_save``)? PEFT looks at the names' ends."""
    parts = name.split(".")
    modules = [".".join(parts[:end]) for end in range(1, len(parts))]
    return any(module.endswith(copy) for module in modules for copy in copies)


def _require_all_weights(config: AdapterConfig, unused: list[str], missing: list[str]) -> None:
    if unused:
        raise WrongAdapter(
            f"{config.folder}: {len(unused)} of its matrices have no place in this base ({_first(unused)}), so it "
            f"would answer without them. It {config.base_text}: say --base with the model that it was trained on."
        )
    if missing:
        raise WrongAdapter(
            f"{config.folder} lacks {len(missing)} matrices that its {CONFIG} promises ({_first(missing)}): these "
            f"layers would answer as the base does. Copy it again, or say --base with the model it was trained on; it "
            f"{config.base_text}."
        )


def _first(names: list[str]) -> str:
    return ", ".join(sorted(names)[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def list_notes(config: AdapterConfig, module_names: list[str]) -> list[str]:
    """Return sentences on what a reader must know: an adapter that changes nothing, targets that the base has not."""
    notes = []
    if cause := _cause_of_nothing(config):
        notes.append(
            f"THE ADAPTER CHANGES NOTHING: {cause}, so tuned and base are one model ({config.folder.name}). Its "
            "training took no step, or the wrong folder was saved."
        )
    targets = config.values.get("target_modules")
    missed = [name for name in targets if not is_target(name, module_names)] if isinstance(targets, list) else []
    if missed:
        notes.append(f"The adapter also targets {_first(missed)}, which this base has not: nothing was trained there.")
    return notes


def _cause_of_nothing(config: AdapterConfig) -> str:
    """Why the adapter changes nothing; an empty text if it changes something."""
    if not config.scale:
        return "its lora_alpha is 0"
    largest = adapter_files.largest_change(config.folder) * abs(config.scale)
    if largest == 0:
        return "in each layer A or B is zero"
    if largest < NIL_CHANGE:
        return f"no weight changes by more than {largest:.0e}, which is lost in rounding"
    return ""


def adapter_hash(adapter: Path) -> str:
    """Return the first 16 hex digits of the sha256 of an adapter's weights.

    Raises:
        WrongAdapter: there are no weights.
        Damaged: they hold NaN or infinity.
    """
    return adapter_files.weights_hash(adapter)[:16]

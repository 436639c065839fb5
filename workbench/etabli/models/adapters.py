"""An adapter's folder, whoever made it: which base it belongs to, whether all of it fits, whether it changes anything.

The folder is data. Its ``adapter_config.json`` is read once, checked here, and nothing that it names is imported.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from etabli.core import folders, parsing, storage
from etabli.core.contracts import MANIFEST
from etabli.core.errors import EtabliError, WrongAdapter
from etabli.models import adapter_files, adapter_values, embedded, headers, sources
from etabli.models.sources import Source

CONFIG = adapter_values.CONFIG
BASE_FACTS = "base.json"  # in an adapter's folder: which base it was trained on
# Their first step rewrites the base's own weights, so the adapter fits no base that anybody has.
_BASE_REWRITERS = ("pissa", "olora", "corda", "loftq", "lora_ga")


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


def adapter_hash(adapter: Path) -> str:
    """Return the first 16 hex digits of the sha256 of an adapter's weights.

    Raises:
        WrongAdapter: there are no weights.
        Damaged: they hold NaN or infinity.
    """
    return adapter_files.weights_hash(adapter)[:16]

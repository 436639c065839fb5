"""Everything that defines a training run, as one immutable object that is read from and written to YAML."""

import difflib
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from etabli.core.config_files import list_mistakes, read_yaml, write_yaml
from etabli.core.contracts import Fingerprint
from etabli.core.errors import BadRecipe
from etabli.core.provenance import FromFile
from etabli.runs.foreign_keys import FOREIGN_KEYS

FROZEN = "frozen"  # the section of a run's recipe.yaml that holds hashes, versions and threads

# Old names of keys; files and calls that use them still work.
OLD_KEYS = {
    "accumulate": "gradient_accumulation_steps",
    "checkpointing": "gradient_checkpointing",
    "schedule": "lr_scheduler",
    "policy": "train_on",
    "probes": "sample_prompts",
    "mirror": "backup",
}


class Lora(BaseModel):
    """Low-rank adapters (arXiv 2106.09685) on every linear layer but the head, as QLoRA advises.

    Each other field of PEFT's ``LoraConfig`` can be set too, by its own name: ``use_rslora``, ``use_dora``,
    ``modules_to_save``, ``rank_pattern``, ``layers_to_transform`` (with ``target_modules`` listed) …
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    rank: int = Field(16, ge=1, le=1024)
    alpha: float = Field(32, gt=0, allow_inf_nan=False)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: str | tuple[str, ...] = "all-linear"

    @model_validator(mode="after")
    def _check_extra_fields(self) -> "Lora":
        """Refuse names and values that PEFT does not take; the error lists all of them."""
        if self.model_extra:
            _check_with_peft(self)
        return self

    def peft_fields(self) -> dict[str, object]:
        """Return the keyword arguments for ``LoraConfig``."""
        targets = self.target_modules if isinstance(self.target_modules, str) else list(self.target_modules)
        fields = {"r": self.rank, "lora_alpha": self.alpha, "lora_dropout": self.dropout, "target_modules": targets}
        return fields | (self.model_extra or {})


# PEFT's names of fields that have another name in a recipe, and fields that a recipe can't set.
_PEFT_NAMES = {"r": "rank", "lora_alpha": "alpha", "lora_dropout": "dropout"}
_RESERVED_FIELDS = {"task_type", "peft_type", "inference_mode", "auto_mapping", "base_model_name_or_path", "revision"}
_RESERVED_FIELDS |= {"target_parameters", "layer_replication"}  # need 16-bit weights, or change the base
_RESERVED_FIELDS |= {"megatron_config", "megatron_core"}  # PEFT imports the module of that name
_INITIALISATIONS = (True, False, "gaussian")  # others rewrite the base's weights, or need them in more than 4 bits


def _check_with_peft(lora: Lora) -> None:
    import dataclasses

    from peft import LoraConfig

    field_names = (
        {field.name for field in dataclasses.fields(LoraConfig) if field.init} - _RESERVED_FIELDS - set(_PEFT_NAMES)
    )
    extra = lora.model_extra or {}
    problems = [
        _explain_unknown_field(name, [*Lora.model_fields, *field_names]) for name in extra if name not in field_names
    ]
    if problems:
        raise ValueError("; ".join(problems))
    if extra.get("init_lora_weights", True) not in _INITIALISATIONS:
        names = ", ".join(map(str, _INITIALISATIONS))
        raise ValueError(f"init_lora_weights must be one of {names}: others change the base, or can't start on 4 bits")
    try:
        LoraConfig(task_type="CAUSAL_LM", **lora.peft_fields())
    except (TypeError, ValueError) as error:
        raise ValueError(f"PEFT refuses it: {error}; target_modules is {lora.target_modules!r}") from None


def _explain_unknown_field(name: str, field_names: list[str]) -> str:
    if name in _PEFT_NAMES:
        return f"{name} is called {_PEFT_NAMES[name]} here"
    if name in _RESERVED_FIELDS:
        return f"{name} can't be set in a recipe"
    similar_names = difflib.get_close_matches(name, field_names, 1)
    return f"{name} is no field of LoraConfig{f'; did you mean {similar_names[0]}?' if similar_names else ''}"


class Recipe(FromFile):
    """What to train on what, and how. Every key but ``data`` has a default.

    ``template`` is the chat template of a base model, which has none of its own: ``alpaca``, ``chatml``, ``plain``
    (prompt and answer as they stand), or a Jinja file. It is stored with the adapter. None: the model's own.

    ``rules`` is a Python file with your own filters and checks (``etabli.checks.custom_rules``): rows that a filter
    does not keep are not trained. ``train_on`` chooses the tokens that are trained: ``answers`` (all assistant turns),
    ``answers_and_reasoning`` (their thoughts too), ``last`` (the last one), ``all`` (every token) or ``spans`` (those
    marked in the rows). ``empty_rows`` says what
    happens to rows without any trained token after the cut at ``max_length``.

    ``batch_size`` rows or ``tokens_per_batch`` tokens go through the model at once, without padding between rows;
    ``gradient_accumulation_steps`` such batches make one optimiser step. ``epochs`` or ``max_steps`` ends the run,
    ``max_minutes`` sooner. ``lr_scheduler`` is the course of the learning rate. ``gradient_checkpointing`` recomputes
    layers in the backward pass instead of keeping their activations: ``none``, ``all``, or a number of layers;
    ``auto`` means only if a row does not fit otherwise. ``dtype`` is the data type of the computation; ``auto`` is the
    fastest one on this machine when the run begins (``etabli.core.cpu_dtype``). ``keep_dequantized`` keeps 4-bit
    matrices dequantised between steps: ``none``, ``all``, or with ``auto`` as many as fit into half of the memory that
    is free beside the largest batch.

    The loss of held-out rows is computed at step 0, every ``eval_every`` steps and at the end, on at most ``eval_rows``
    of them, always the same. ``sample_prompts`` are answered every ``sample_every`` steps, and at steps 0, 1, 2, 4, 8 …
    before. ``backup`` is a folder that gets a second copy of the run while it goes on. Keys have had other names
    (``OLD_KEYS``): these are accepted, with a warning.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "default"
    template: str | None = Field(None, min_length=1)
    data: str = Field(min_length=1)
    eval_data: str | None = None
    rules: str | None = None
    max_length: int = Field(512, ge=8)
    train_on: Literal["answers", "answers_and_reasoning", "last", "all", "spans"] = "answers"
    empty_rows: Literal["refuse", "leave_out"] = "refuse"
    lora: Lora = Field(default_factory=lambda: Lora.model_validate({}))
    learning_rate: float = Field(2e-4, gt=0, le=1)
    lr_scheduler: Literal["constant", "linear", "cosine", "inverse_sqrt", "range"] = "linear"
    warmup_steps: int = Field(5, ge=0)
    epochs: int | None = Field(None, ge=1)
    max_steps: int | None = Field(None, ge=1)
    tokens_per_batch: int | None = Field(None, ge=8)
    batch_size: int | None = Field(None, ge=1)
    gradient_accumulation_steps: int = Field(1, ge=1)
    optimizer: Literal["auto", "adamw", "adamw8bit", "paged_adamw8bit"] = "auto"
    checkpoint_every: int = Field(50, ge=1)
    eval_every: int = Field(25, ge=1)
    eval_rows: int = Field(256, ge=1)
    sample_every: int = Field(50, ge=1)
    sample_prompts: tuple[str, ...] = ()
    seed: int = Field(0, ge=0, lt=2**63)
    threads: int | None = Field(None, ge=1)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    gradient_checkpointing: Literal["auto", "none", "all"] | Annotated[int, Field(ge=1)] = "auto"
    keep_dequantized: Literal["auto", "none", "all"] = "auto"
    callbacks: str | None = None
    backup: str | None = None
    max_minutes: float | None = Field(None, gt=0, allow_inf_nan=False)
    devices: int = Field(1, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_defaults(cls, keys: object) -> object:
        """Fill in the defaults that depend on other keys."""
        if not isinstance(keys, dict):
            return keys
        all_keys = {key: None if value == "auto" and key in _AUTO else value for key, value in keys.items()}
        # 2e-4 is QLoRA's advice from 7B up; the 135M default learns ten times as fast (docs/log.md).
        if all_keys.get("learning_rate") is None:
            all_keys["learning_rate"] = 2e-3 if all_keys.get("model", "default") == "default" else 2e-4
        if all_keys.get("epochs") is None and all_keys.get("max_steps") is None:
            all_keys["epochs"] = 3
        if all_keys.get("tokens_per_batch") is None and all_keys.get("batch_size") is None:
            all_keys["tokens_per_batch"] = all_keys.get("max_length", 512)
        return all_keys

    @model_validator(mode="after")
    def _check_combinations(self) -> "Recipe":
        if self.epochs and self.max_steps:
            raise ValueError("epochs and max_steps are both set: say one of them")
        if self.tokens_per_batch and self.batch_size:
            raise ValueError("tokens_per_batch and batch_size are both set: say one of them")
        if self.tokens_per_batch and self.tokens_per_batch < self.max_length:
            raise ValueError(
                f"tokens_per_batch ({self.tokens_per_batch}) is smaller than max_length ({self.max_length}): "
                "a row of that length would fit into no batch"
            )
        return self

    def __init__(self, /, **keys: object):
        present = rename_old_keys(keys)
        _warn_of_old_keys(keys)
        try:
            super().__init__(**present)
        except ValidationError as error:
            raise BadRecipe(list_mistakes(error, _ALL_KEYS, ("str", "tuple[str, ...]"), FOREIGN_KEYS)) from None

    @classmethod
    def load(cls, path: str | Path) -> "Recipe":
        """Read a recipe from YAML.

        Raises:
            BadRecipe: lists every mistake at once, each with its key.
        """
        try:
            return cls(**read_recipe(path)[0]).read_from(path)
        except BadRecipe as error:
            raise BadRecipe(error.problems, str(path)) from None

    def keys(self) -> dict[str, object]:
        """Return plain values, as they are written to YAML."""
        return self.model_dump(mode="json")

    def save(self, path: str | Path, frozen: Mapping[str, object] | None = None) -> None:
        """Write the recipe; ``frozen`` is the fingerprint of a run, which becomes the section of that name.

        Raises:
            BadRecipe: it holds a secret, which would be shared with the run.
        """
        write_yaml(path, self.keys(), {FROZEN: dict(frozen)} if frozen else {})


def read_recipe(path: str | Path) -> tuple[dict[str, object], Fingerprint]:
    """Return the keys of a recipe file, and its section ``frozen``, which is empty unless the file is a run's.

    A run's file was written by the program, so its old keys get their present names without a warning, in the section
    ``frozen`` too: a run that an older version began is compared, and resumed, under the present names.

    Raises:
        BadRecipe: no file, no YAML, YAML that is not a mapping, or a key under both its names.
    """
    keys = read_yaml(path)
    frozen = keys.pop(FROZEN, None)
    if not isinstance(frozen, dict):
        return keys, {}
    if isinstance(frozen.get("recipe"), dict):
        frozen["recipe"] = rename_old_keys(frozen["recipe"])
    return rename_old_keys(keys), cast(Fingerprint, frozen)


def rename_old_keys(keys: Mapping[str, object]) -> dict[str, object]:
    """Return the keys of a recipe under their present names.

    Raises:
        BadRecipe: a key is given under both its names.
    """
    twice = [(old, new) for old, new in OLD_KEYS.items() if old in keys and new in keys]
    if twice:
        raise BadRecipe([f"{old}: the old name of {new}, which is set too; remove {old}" for old, new in twice])
    return {OLD_KEYS.get(key, key): value for key, value in keys.items()}


def _warn_of_old_keys(keys: Mapping[str, object]) -> None:
    """Warn once of all old names, at the line outside of this package that made or loaded the recipe."""
    pairs = [f"{key} is now {OLD_KEYS[key]}" for key in keys if key in OLD_KEYS]
    if not pairs:
        return
    package = __name__.partition(".")[0]
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        level, frame = level + 1, frame.f_back
    text = f"Recipe keys have new names: {', '.join(pairs)}. The old names still work; use the new ones."
    warnings.warn(text, FutureWarning, stacklevel=level)


# Keys whose "auto" is filled in when the recipe is made; "auto" for optimizer and gradient_checkpointing waits for the
# device.
_AUTO = ("learning_rate", "tokens_per_batch", "threads")
_ALL_KEYS = (*Recipe.model_fields, *(f"lora.{name}" for name in Lora.model_fields))

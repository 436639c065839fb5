"""One frozen object that says everything about a run."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from etabli.core.config_files import mistakes, read_yaml, write_yaml
from etabli.core.errors import BadRecipe
from etabli.core.provenance import FromFile

FROZEN = "frozen"  # the section of a run's recipe.yaml that holds hashes, versions and threads


class Lora(BaseModel):
    """Low-rank adapters (arXiv 2106.09685) on every linear layer but the head, as QLoRA advises.

    Besides these, any field of PEFT's ``LoraConfig`` can be given, by its own name: ``use_rslora``, ``use_dora``,
    ``modules_to_save``, ``rank_pattern``, ``layers_to_transform`` (with ``target_modules`` listed) …
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    rank: int = Field(16, ge=1, le=1024)
    alpha: float = Field(32, gt=0, allow_inf_nan=False)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: str | tuple[str, ...] = "all-linear"

    @model_validator(mode="after")
    def _known(self) -> "Lora":
        """Names and values that PEFT does not take are slips; all of them are told."""
        if self.model_extra:
            _check_peft(self)
        return self

    def peft(self) -> dict[str, Any]:
        """Keys for ``LoraConfig``."""
        targets = self.target_modules if isinstance(self.target_modules, str) else list(self.target_modules)
        named = {"r": self.rank, "lora_alpha": self.alpha, "lora_dropout": self.dropout, "target_modules": targets}
        return named | (self.model_extra or {})


# What a recipe says in its own words, and what it decides.
_RENAMED = {"r": "rank", "lora_alpha": "alpha", "lora_dropout": "dropout"}
_DECIDED = {"task_type", "peft_type", "inference_mode", "auto_mapping", "base_model_name_or_path", "revision"}
_DECIDED |= {"target_parameters", "layer_replication"}  # of 16-bit weights, and of another base
_DECIDED |= {"megatron_config", "megatron_core"}  # PEFT imports the module of that name
_STARTS = (True, False, "gaussian")  # others rewrite the base's weights, or need them in more than 4 bits


def _check_peft(lora: Lora) -> None:
    import dataclasses

    from peft import LoraConfig

    known = {field.name for field in dataclasses.fields(LoraConfig) if field.init} - _DECIDED - set(_RENAMED)
    slips = [_slip(name, [*Lora.model_fields, *known]) for name in lora.model_extra or {} if name not in known]
    if slips:
        raise ValueError("; ".join(slips))
    if (lora.model_extra or {}).get("init_lora_weights", True) not in _STARTS:
        names = ", ".join(map(str, _STARTS))
        raise ValueError(f"init_lora_weights must be one of {names}: others change the base, or can't start on 4 bits")
    try:
        LoraConfig(task_type="CAUSAL_LM", **lora.peft())
    except (TypeError, ValueError) as error:
        raise ValueError(f"PEFT refuses it: {error}; target_modules is {lora.target_modules!r}") from None


def _slip(name: str, known: list[str]) -> str:
    if name in _RENAMED:
        return f"{name} is called {_RENAMED[name]} here"
    if name in _DECIDED:
        return f"{name} is not for a recipe to say"
    near = difflib.get_close_matches(name, known, 1)
    return f"{name} is no field of LoraConfig{f'; did you mean {near[0]}?' if near else ''}"


class Recipe(FromFile):
    """What to train on what, and how. Every key has a default but ``data``.

    ``rules`` is a Python file of your own filters and checks (``etabli.checks.custom_rules``): rows that a filter does
    not keep are not trained. ``empty_rows`` says what happens to rows that train nothing once cut at ``max_length``.
    ``batch_size`` rows or ``tokens_per_batch`` tokens go through the model at once, without padding
    between rows; ``accumulate`` of them make one optimiser step. ``epochs`` or ``max_steps`` ends the run,
    ``max_minutes`` sooner. ``checkpointing`` computes layers again instead of keeping them: none, all, or so many;
    ``auto`` only if a row does not fit otherwise. ``dtype`` is what is computed in; ``auto`` is what this machine
    computes in fastest when the run begins (``etabli.core.cpu_dtype``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "default"
    data: str = Field(min_length=1)
    eval_data: str | None = None
    rules: str | None = None
    max_length: int = Field(512, ge=8)
    policy: Literal["answers", "last", "all", "spans"] = "answers"
    empty_rows: Literal["refuse", "leave_out"] = "refuse"
    lora: Lora = Lora()
    learning_rate: float = Field(2e-4, gt=0, le=1)
    schedule: Literal["constant", "linear", "cosine", "inverse_sqrt", "range"] = "linear"
    warmup_steps: int = Field(5, ge=0)
    epochs: int | None = Field(None, ge=1)
    max_steps: int | None = Field(None, ge=1)
    tokens_per_batch: int | None = Field(None, ge=8)
    batch_size: int | None = Field(None, ge=1)
    accumulate: int = Field(1, ge=1)
    optimizer: Literal["auto", "adamw", "adamw8bit", "paged_adamw8bit"] = "auto"
    checkpoint_every: int = Field(50, ge=1)
    eval_every: int = Field(25, ge=1)
    sample_every: int = Field(50, ge=1)
    probes: tuple[str, ...] = ()
    seed: int = Field(0, ge=0, lt=2**63)
    threads: int | None = Field(None, ge=1)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    checkpointing: Literal["auto", "none", "all"] | Annotated[int, Field(ge=1)] = "auto"
    callbacks: str | None = None
    mirror: str | None = None
    max_minutes: float | None = Field(None, gt=0, allow_inf_nan=False)
    devices: int = Field(1, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _sizes(cls, given: Any) -> Any:
        """Fill in what depends on other keys."""
        if not isinstance(given, dict):
            return given
        filled = {key: None if value == "auto" and key in _AUTO else value for key, value in given.items()}
        # 2e-4 is QLoRA's advice from 7B up; the 135M default learns ten times as fast (docs/log.md).
        if filled.get("learning_rate") is None:
            filled["learning_rate"] = 2e-3 if filled.get("model", "default") == "default" else 2e-4
        if filled.get("epochs") is None and filled.get("max_steps") is None:
            filled["epochs"] = 3
        if filled.get("tokens_per_batch") is None and filled.get("batch_size") is None:
            filled["tokens_per_batch"] = filled.get("max_length", 512)
        return filled

    @model_validator(mode="after")
    def _one_of_each(self) -> "Recipe":
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

    def __init__(self, /, **keys: Any):
        try:
            super().__init__(**keys)
        except ValidationError as error:
            raise BadRecipe(mistakes(error, _KNOWN, ("str", "tuple[str, ...]"))) from None

    @classmethod
    def load(cls, path: str | Path) -> "Recipe":
        """Read a recipe from YAML.

        Raises:
            BadRecipe: lists every mistake at once, each with its key.
        """
        try:
            return cls(**read_run(path)[0]).read_from(path)
        except BadRecipe as error:
            raise BadRecipe(error.problems, str(path)) from None

    def keys(self) -> dict[str, Any]:
        """Plain values, as they are written to YAML."""
        return self.model_dump(mode="json")

    def save(self, path: str | Path, frozen: dict[str, Any] | None = None) -> None:
        """Write the recipe; ``frozen`` is what a run promises beside it.

        Raises:
            BadRecipe: it holds a secret, which would be shared with the run.
        """
        write_yaml(path, self.keys(), {FROZEN: frozen} if frozen else {})


def read_run(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keys of a recipe file, and its frozen section if it is a run's.

    Raises:
        BadRecipe: no file, no YAML, or YAML that is not a mapping.
    """
    keys = read_yaml(path)
    frozen = keys.pop(FROZEN, None)
    return keys, frozen if isinstance(frozen, dict) else {}


# Keys whose "auto" is filled in when the recipe is made; optimizer's and checkpointing's wait for the device.
_AUTO = ("learning_rate", "tokens_per_batch", "threads")
_KNOWN = (*Recipe.model_fields, *(f"lora.{name}" for name in Lora.model_fields))

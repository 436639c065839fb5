"""Put an adapter on a base so that both can be compared: nothing of the base changes, and no weight is left over."""

from typing import TYPE_CHECKING

from etabli.core.errors import WrongAdapter
from etabli.models import adapter_files
from etabli.models.adapters import CONFIG, AdapterConfig
from etabli.models.module_names import is_target

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

# A change of a weight below it is lost: float32 has seven digits, and weights are of the order 0.01.
NIL_CHANGE = 1e-9
_SHOWN = 3  # names of tensors or modules in a message


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

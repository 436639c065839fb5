"""Faults planted into a merged model's folder, each with the cause under which the seal has to find it."""

import json


def change_json(file, change):
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))


def swap_template(folder, run):
    file = folder / "chat_template.jinja"
    file.write_text(file.read_text().replace("user", "USER").replace("message['role']", "(message['role'] | upper)"))


def double_begin(folder, run):
    file = folder / "chat_template.jinja"
    file.write_text("{{ bos_token }}" + file.read_text())


def drop_stop(folder, run):
    change_json(folder / "generation_config.json", lambda values: values.update(eos_token_id=0))


def drop_added_token(folder, run):
    def change(values):
        values["added_tokens"] = [token for token in values["added_tokens"] if token["content"] != "<|im_end|>"]

    change_json(folder / "tokenizer.json", change)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            change_json(folder / name, lambda values: [values.pop(key, None) for key in ("eos_token", "pad_token")])
            change_json(folder / name, lambda values: values.pop("extra_special_tokens", None))
            change_json(folder / name, lambda values: values.pop("added_tokens_decoder", None))


def merge_again(folder, run):
    change_weights(folder, lambda name, weight, without: 2 * weight - without, run)


def leave_out_adapter(folder, run):
    change_weights(folder, lambda name, weight, without: without, run)


def other_base(folder, run):
    import torch

    torch.manual_seed(7)
    change_weights(folder, lambda name, weight, without: torch.randn_like(weight) * weight.std(), run)


def change_weights(folder, change, run):
    """Write other weights; ``without`` are those of the base as it was trained."""
    from bitsandbytes.functional import dequantize_4bit
    from safetensors.torch import load_file, save_file

    from etabli.models import loading

    base = loading.load(run.recipe.model, dtype=run.dtype, keep_dequantized=False).model
    values = {
        f"{name}.weight": dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        for name, layer in base.named_modules()
        if type(layer).__name__ == "Linear4bit"
    }
    weights = load_file(folder / "model.safetensors")
    changed = {
        name: change(name, weight.float(), values[name].float()).to(weight.dtype) if name in values else weight
        for name, weight in weights.items()
    }
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})


FAULTS = {
    swap_template: "template differs",
    double_begin: "BOS twice",
    drop_stop: "stop token lost",
    drop_added_token: "tokenizer differs",
    merge_again: "adapter applied twice",
    leave_out_adapter: "adapter not applied",
    other_base: "other base",
}

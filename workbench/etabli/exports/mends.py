"""What to do about each cause that a seal names."""

MENDS = {
    "template differs": "Export it again, and have its program use the model's own chat template, that of the folder.",
    "BOS": "Have one place write the beginning-of-text token: the chat template, or the tokenizer (add_bos_token).",
    "stop token lost": "Put the token that ends a turn into eos_token_id of generation_config.json, or export again.",
    "other stop tokens": "Remove them from eos_token_id of generation_config.json, or export it again.",
    "other generation settings": "Remove them from generation_config.json or the Modelfile, or export it again.",
    "generation settings lost": "Put them into its generation_config.json, or send them with each request.",
    "tokenizer differs": "Export it again: the tokenizer's files are not those that it was trained with.",
    "other base": "Use the base that the adapter was trained on; its hash stands in base.json.",
    "adapter not applied": "Load the adapter on the base, or export it merged.",
    "adapter applied twice": "Load the merged model without the adapter, or the adapter on its base.",
    "its weights give no numbers": "Export it again from a run whose loss is a number.",
    "the score is worse": "Choose another form: fewer rounding steps, as q8_0 in place of q4_k_m.",
    "the base's own 16-bit values": "Export it merged into the values that it was trained on (--base-values trained).",
    "quantisation": "Choose more bits (q8_0 or f16), or evaluate this form itself.",
    "it can't be": "Look at the folder, then export it again.",
}
OTHERWISE = "Evaluate this form itself before it is used, or export it again."


def mend_of(cause: str) -> str:
    """Return what to do about a cause."""
    return next((mend for beginning, mend in MENDS.items() if cause.startswith(beginning)), OTHERWISE)

"""The forms of an exported model, and how they are named: ``gguf:q8_0``."""

from typing import NamedTuple

from etabli.core.errors import BadInput
from etabli.exports import gguf_file, merge

# The variants of each kind of form, the default one first.
VARIANTS: dict[str, tuple[str, ...]] = {
    "adapter": ("",),
    "merged": merge.BASES,
    "gguf": (gguf_file.DEFAULT, *gguf_file.QUANTS, gguf_file.LORA),
    "ollama": (gguf_file.DEFAULT, *gguf_file.QUANTS),
    "vllm": ("",),
    "hub": ("adapter", "merged"),
}


class FormName(NamedTuple):
    """A form: its kind and its variant, as ``gguf`` and ``q8_0``."""

    kind: str
    variant: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.variant}" if self.kind in ("gguf", "ollama") else self.asked

    @property
    def asked(self) -> str:
        """The shortest text that names it."""
        return self.kind if self.variant == VARIANTS[self.kind][0] else f"{self.kind}:{self.variant}"


def parse_form(form: str) -> FormName:
    """Return a form's kind and variant.

    Raises:
        BadInput: there is no such form.
    """
    kind, _, variant = form.partition(":")
    variants = VARIANTS.get(kind, ())
    if variants and (not variant or variant in variants):
        return FormName(kind, variant or variants[0])
    if kind in ("gguf", "ollama"):
        raise BadInput(gguf_file.no_such_quant(variant))
    names = dict.fromkeys(FormName(kind, variant).asked for kind, some in VARIANTS.items() for variant in some)
    raise BadInput(f"There is no form {form!r}; choose from {', '.join(names)}.")

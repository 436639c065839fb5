"""A model's tokenizer without the model: tokens are counted with 60 MB where AutoTokenizer takes 400.

``tokenizers`` reads ``tokenizer.json``; the chat template is run as for every tokenizer, by ``chat_templates``.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

from etabli.core import folders, machine, parsing
from etabli.core.errors import Damaged, UnknownModel
from etabli.models import embedded, headers
from etabli.rendering import template_engine

FILE = "tokenizer.json"
WANTED = [FILE, "tokenizer_config.json", "chat_template.jinja", "additional_chat_templates/*.jinja"]
_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class CountingTokenizer:
    """What ``tokens.render`` needs of a tokenizer, and no more."""

    def __init__(self, folder: Path):
        from tokenizers import Tokenizer

        headers.require_sane(folder)
        try:
            self.inner = Tokenizer.from_file(str(folder / FILE))
        except Exception as error:  # the library's own, a bare Exception
            raise Damaged(f"{folder / FILE} is no tokenizer: {str(error)[: parsing.SHOWN]}.") from None
        self.inner.no_padding()
        self.inner.no_truncation()
        config = _json(folder / "tokenizer_config.json")
        self.special_tokens_map = {name: _token(config.get(name)) for name in _SPECIAL if config.get(name)}
        self.chat_template = template(folder)

    @property
    def bos_token(self) -> str | None:
        """The begin-of-text token."""
        return self.special_tokens_map.get("bos_token")

    @property
    def eos_token(self) -> str | None:
        """The end-of-text token."""
        return self.special_tokens_map.get("eos_token")

    @property
    def bos_token_id(self) -> int | None:
        """Its id."""
        return self.inner.token_to_id(self.bos_token) if self.bos_token else None

    @property
    def eos_token_id(self) -> int | None:
        """Its id."""
        return self.inner.token_to_id(self.eos_token) if self.eos_token else None

    @cached_property
    def added(self) -> dict[str, int]:
        """Added tokens and their ids."""
        return {token.content: number for number, token in self.inner.get_added_tokens_decoder().items()}

    def get_added_vocab(self) -> dict[str, int]:
        """As transformers has it."""
        return self.added

    def apply_chat_template(
        self, messages: list[dict], tokenize: bool = False, add_generation_prompt: bool = False, tools: Any = None
    ) -> str:
        """The template's own text of a conversation."""
        return template_engine.render(self, [template_engine.Conversation(messages, add_generation_prompt, tools)])[0]

    def __call__(self, text: str, add_special_tokens: bool = True, **_: Any) -> dict[str, list]:
        """Ids and offsets in characters."""
        encoded = self.inner.encode(text, add_special_tokens=add_special_tokens)
        return {"input_ids": encoded.ids, "offset_mapping": encoded.offsets}


def tokenizer(name: str) -> CountingTokenizer:
    """The tokenizer of a model; see ``located``."""
    return CountingTokenizer(located(name))


def located(name: str) -> Path:
    """The folder with the tokenizer of a model: a folder, the embedded one, or a Hub model; no weights are fetched.

    Raises:
        UnknownModel: none there.
    """
    if name in ("default", embedded.NAME):
        return embedded.make()
    folder = Path(name).expanduser()
    if (folder / FILE).is_file():
        folders.files_of(folder, linked=(".safetensors",))
        return folder
    return _from_hub(name)


def template(folder: Path) -> str | dict[str, str] | None:
    """The chat template that a folder holds, or several by name, as transformers finds them."""
    held = _json(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(held, list):
        held = {
            item["name"]: item["template"]
            for item in held
            if isinstance(item, dict) and {"name", "template"} <= set(item)
        }
    single, several = folder / "chat_template.jinja", sorted((folder / "additional_chat_templates").glob("*.jinja"))
    if single.is_file():
        held = parsing.read_text(single)
    if not several:
        return held
    return ({"default": held} if isinstance(held, str) else {}) | {
        path.stem: parsing.read_text(path) for path in several
    }


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    if Path(name).is_dir() or not machine.hub_reachable():
        raise UnknownModel(f"{name!r} is no folder with a {FILE}, and the Hub can't be reached. Use --model default.")
    try:
        folder = Path(snapshot_download(name, allow_patterns=WANTED, token=machine.hub_token()))
    except Exception as error:
        raise UnknownModel(f"The Hub did not give the tokenizer of {name!r}: {error}") from error
    if not (folder / FILE).is_file():
        raise UnknownModel(f"{name} has no {FILE} on the Hub.")
    return folder


def _json(path: Path) -> dict[str, Any]:
    return parsing.read_json(path, parsing.LARGEST_CONFIG, lenient=True) if path.is_file() else {}


def _token(value: Any) -> str:
    return value["content"] if isinstance(value, dict) else str(value)

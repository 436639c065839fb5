"""A model's tokenizer for counting: it takes 60 MB of memory, AutoTokenizer takes 400.

``tokenizers`` reads ``tokenizer.json``; ``template_engine`` applies the chat template, as for every tokenizer.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

from etabli.core import folders, machine, parsing
from etabli.core.contracts import Message
from etabli.core.errors import Damaged, UnknownModel
from etabli.models import embedded, headers, vocabulary
from etabli.rendering import template_engine

FILE = "tokenizer.json"
DOWNLOAD_PATTERNS = [
    *(FILE, "tokenizer_config.json", "config.json"),
    *("chat_template.jinja", "additional_chat_templates/*.jinja"),
]
_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class CountingTokenizer:
    """The part of a tokenizer that ``rendering`` needs (``template_engine.ChatTokenizer``)."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        headers.require_valid_files(folder)
        try:
            self.inner = Tokenizer.from_file(str(folder / FILE))
        except Exception as error:  # the library's own, a bare Exception
            raise Damaged(f"{folder / FILE} is no tokenizer: {str(error)[: parsing.MOST_SHOWN]}.") from None
        vocabulary.require_embeddings(self.inner.get_vocab(), folder, str(folder))
        self.inner.no_padding()
        self.inner.no_truncation()
        self.special_tokens_map: dict[str, str] = read_special_tokens(folder)
        self.chat_template: str | dict[str, str] | None = read_chat_template(folder)

    @property
    def bos_token(self) -> str | None:
        """Begin-of-text."""
        return self.special_tokens_map.get("bos_token")

    @property
    def eos_token(self) -> str | None:
        """End-of-text."""
        return self.special_tokens_map.get("eos_token")

    @eos_token.setter
    def eos_token(self, token: str | None) -> None:
        if token is not None:
            self.special_tokens_map["eos_token"] = token

    @property
    def bos_token_id(self) -> int | None:
        """The id of begin-of-text."""
        return self._token_id(self.bos_token)

    @property
    def eos_token_id(self) -> int | None:
        """The id of end-of-text."""
        return self._token_id(self.eos_token)

    def _token_id(self, token: str | None) -> int | None:
        number: int | None = self.inner.token_to_id(token) if token else None
        return number

    @cached_property
    def _added_vocab(self) -> dict[str, int]:
        return {token.content: number for number, token in self.inner.get_added_tokens_decoder().items()}

    def get_added_vocab(self) -> dict[str, int]:
        """Return the added tokens with their ids."""
        return self._added_vocab

    def apply_chat_template(
        self,
        messages: list[Message],
        tokenize: bool = False,
        add_generation_prompt: bool = False,
        tools: template_engine.Tools = None,
    ) -> str:
        """Return the text that the chat template makes of a conversation."""
        return template_engine.apply_template(
            self, [template_engine.Conversation(messages, add_generation_prompt, tools)]
        )[0]

    def __call__(
        self, text: str, *, add_special_tokens: bool = True, return_offsets_mapping: bool = True
    ) -> dict[str, list[Any]]:
        """Return ids, and offsets in characters."""
        encoding = self.inner.encode(text, add_special_tokens=add_special_tokens)
        return {"input_ids": encoding.ids, "offset_mapping": encoding.offsets}


def load_tokenizer(name: str) -> CountingTokenizer:
    """Return the tokenizer of a model; see ``tokenizer_folder``."""
    return CountingTokenizer(tokenizer_folder(name))


def tokenizer_folder(name: str) -> Path:
    """Return the folder with the tokenizer of a local, embedded or Hub model; no weights are fetched.

    Raises:
        UnknownModel: there is no tokenizer of that name. Damaged: a file beside it is too large, too deep or forged.
    """
    if name in ("default", embedded.NAME):
        return embedded.ensure_model()
    folder = Path(name).expanduser()
    if (folder / FILE).is_file():
        folders.list_files(folder, link_suffixes=(".safetensors",))
        headers.require_valid_files(folder)
        return folder
    return _from_hub(name)


def read_chat_template(folder: Path) -> str | dict[str, str] | None:
    """Return the chat template of a folder, or several by name, as transformers finds them."""
    template = _json(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(template, list):
        items = [item for item in template if isinstance(item, dict) and {"name", "template"} <= set(item)]
        template = {item["name"]: item["template"] for item in items}
    single, several = folder / "chat_template.jinja", sorted((folder / "additional_chat_templates").glob("*.jinja"))
    if single.is_file():
        template = parsing.read_text(single)
    if not several:
        return template
    named_templates = {path.stem: parsing.read_text(path) for path in several}
    return ({"default": template} if isinstance(template, str) else {}) | named_templates


def read_special_tokens(folder: Path) -> dict[str, str]:
    """Return the texts of the special tokens that a folder's ``tokenizer_config.json`` names, by their names."""
    config = _json(folder / "tokenizer_config.json")
    return {name: _token_text(config[name]) for name in _SPECIAL if config.get(name)}


def read_added_tokens(folder: Path) -> dict[str, int]:
    """Return the added tokens of a folder's ``tokenizer.json`` with their ids; none without that file."""
    tokens = _json(folder / FILE, headers.LARGEST_TOKENIZER).get("added_tokens") or []
    return {token["content"]: token["id"] for token in tokens}


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    if Path(name).is_dir() or not machine.hub_reachable():
        raise UnknownModel(f"{name!r} is no folder with a {FILE}, and the Hub can't be reached. Use --model default.")
    try:
        folder = Path(snapshot_download(name, allow_patterns=DOWNLOAD_PATTERNS, token=machine.hub_token()))
    except Exception as error:
        raise UnknownModel(f"The Hub did not give the tokenizer of {name!r}: {error}") from error
    if not (folder / FILE).is_file():
        raise UnknownModel(f"{name} has no {FILE} on the Hub.")
    return folder


def _json(path: Path, limit: int = parsing.LARGEST_CONFIG) -> dict[str, Any]:
    return parsing.read_json(path, limit, lenient=True) if path.is_file() else {}


def _token_text(value: Any) -> str:
    return value["content"] if isinstance(value, dict) else str(value)

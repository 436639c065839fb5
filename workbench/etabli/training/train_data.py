"""What a run trains on, holds out and asks as it goes, made from its recipe alone."""

import hashlib
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etabli.checks import custom_rules
from etabli.core import machine, storage, trust
from etabli.core.contracts import Message, Row
from etabli.core.errors import BadData
from etabli.data.dataset import Dataset, located, unique
from etabli.models import loading, sources
from etabli.models.sources import Source
from etabli.rendering import token_checks
from etabli.runs.recipe import Recipe
from etabli.training.packing import Encoded, Failed
from etabli.training.tokenize_dataset import encode

PROBES = 2
# Raised when the same recipe gives other roundings: 1 had whole logits and masks over packs.
ENGINE = 2
# What may change between a stop and a resume: the weights do not depend on it.
# Data, rules and callbacks are told by their hashes, not by where they lie.
_TOLD = ("data", "rules", "callbacks")
FREE = ("mirror", "max_minutes", "checkpoint_every", "eval_every", "sample_every", "probes", *_TOLD)
OpenRows = Callable[[str, Path | None], Dataset]
HELD_OUT_SHARE, HELD_OUT_MOST = 0.06, 32


@dataclass
class Material:
    """Encoded rows to train and to hold out, the probes, and what can't be used."""

    rows: list[Encoded]
    held_out: list[Encoded]
    probes: list[list[Message]]
    untrainable: list[str] = field(default_factory=list)
    data_hash: str = ""
    rules_hash: str | None = None
    callbacks_hash: str | None = None
    found: dict[str, int] = field(default_factory=dict)  # rows, by rule of the person's own
    trained: list[Row] = field(default_factory=list)  # the rows as they were before they were encoded
    failed: Failed = field(default_factory=dict)  # which assertions about their tokens do not hold, where
    eval_data_hash: str | None = None  # of the rows that the recipe's eval_data names


def gather(
    recipe: Recipe, tokenizer: Any, near: Path | None = None, enforce: bool = True,
    open_rows: OpenRows = Dataset.open,
) -> Material:  # fmt: skip
    """Read, filter, split and encode the recipe's data; ``enforce``: refuse rows whose tokens are not as they must be.

    Rows marked ``test`` are never looked at; rows that the recipe's ``rules`` do not keep are left out of training and
    of what is held out of it, not of ``eval_data``. What is held out for the loss is ``eval_data`` if the recipe names
    it, else about one row in sixteen, whole templates where rows have one.

    Raises:
        BadData: nothing to train on, or rows that fail an assertion, each with its count, first rows and what to do;
        UntrustedCode: this user said no yes to the recipe's rules.
    """
    data = open_rows(recipe.data, near)
    split = split_rows(recipe, data, near, open_rows)
    if not split.train:
        raise BadData(f"{recipe.data} has {len(data.rows)} rows and none to train on{_left_out(split.found)}.")
    rows, untrainable, failed = encode(split.train, tokenizer, recipe)
    if enforce:
        _enforce(failed, len(split.train), recipe)
    kept = encode(split.held_out, tokenizer, recipe)[0] if split.held_out else []
    return Material(
        rows, kept, _probes(recipe, split.train, split.held_out), untrainable, data.hash, split.rules_hash,
        _hash(located(recipe.callbacks, near) if recipe.callbacks else None), split.found, split.train, failed,
        split.eval_data_hash,
    )  # fmt: skip


@dataclass
class Split:
    """The rows of a recipe's data, before they are encoded: what trains and what is held out for the loss."""

    train: list[Row]
    held_out: list[Row]
    found: dict[str, int]  # rows, by rule of the person's own
    rules_hash: str | None = None
    eval_data_hash: str | None = None


def split_rows(recipe: Recipe, data: Dataset, near: Path | None = None, open_rows: OpenRows = Dataset.open) -> Split:
    """Filter the recipe's data and split off what is held out; see ``gather``."""
    rules = trust.trusted_code(located(recipe.rules, near), "rules") if recipe.rules else None
    rows = unique([row for row in data.rows if row.get("split") != "test"])
    usable, found = custom_rules.keep(rows, custom_rules.rules_of(rules) if rules else [])
    rules_hash = rules.sha256 if rules else None
    if not recipe.eval_data:
        return Split(*hold_out(usable, recipe.seed), found, rules_hash)
    tests = open_rows(recipe.eval_data, near)
    return Split(usable, tests.rows, found, rules_hash, tests.hash)


def trained_rows(recipe: Recipe, data: Dataset, near: Path | None = None) -> list[Row]:
    """Return the rows that a run of this recipe trains on, and no others: all that its rivals may know.

    Under ``empty_rows: leave_out`` the rows are encoded, because only their tokens tell which of them train nothing.
    """
    train = split_rows(recipe, data, near, lambda name, place: Dataset([])).train  # what is held out is not asked for
    if recipe.empty_rows == "refuse" or not train:
        return train
    untrainable = set(encode(train, loading.tokenizer(sources.resolve(recipe.model)), recipe)[1])
    return [row for row in train if row["id"] not in untrainable]


def _hash(file: Path | None) -> str | None:
    return storage.sha256(file) if file and file.is_file() else None


def _enforce(failed: Failed, rows: int, recipe: Recipe) -> None:
    """No run begins on tokens that are not what they should be."""
    none = len(failed.get(token_checks.EMPTY, ())) == rows
    refused = recipe.empty_rows == "refuse" or none
    held = {name: found for name, found in failed.items() if name != token_checks.EMPTY or refused}
    if held:
        raise BadData(f"{recipe.data} is not trained as it stands.\n{token_checks.refusal(held, rows)}")


def _left_out(found: dict[str, int]) -> str:
    said = ", ".join(f"{name} ({count} rows)" for name, count in found.items() if count)
    return f": your rules found {said}" if said else ""


def hold_out(rows: list[Row], seed: int) -> tuple[list[Row], list[Row]]:
    """Split off rows for the held-out loss, by template where there is one. Fewer than 32 rows give none."""
    most = min(HELD_OUT_MOST, int(len(rows) * HELD_OUT_SHARE))
    if len(rows) < 32:
        return rows, []
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.get("template") or row["id"], []).append(row)
    names = sorted(groups)
    random.Random(f"held-out-{seed}").shuffle(names)
    held: list[Row] = []
    for name in names:
        if len(held) + len(groups[name]) <= most:
            held += groups[name]
    chosen = {row["id"] for row in held}
    return [row for row in rows if row["id"] not in chosen], held


def _probes(recipe: Recipe, train: list[Row], held_out: list[Row]) -> list[list[Message]]:
    """The recipe's probes after the data's own system message, or the first held-out prompts of each language."""
    if recipe.probes:
        system = [message for message in train[0]["messages"][:1] if message["role"] == "system"]
        return [[*system, {"role": "user", "content": probe}] for probe in recipe.probes]
    by_language = {row.get("lang"): row for row in reversed(held_out) if row["messages"][-1]["role"] != "text"}
    return [prompt(row) for row in list(by_language.values())[:PROBES]]


def prompt(row: Row) -> list[Message]:
    """A row's messages before its last answer."""
    messages = row["messages"]
    return messages[:-1] if messages[-1]["role"] == "assistant" else messages


def template_hash(tokenizer: Any) -> str:
    """Which chat template a model speaks."""
    return hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()


def frozen(recipe: Recipe, source: Source, tokenizer: Any, material: Material, dtype: str) -> dict[str, Any]:
    """What must be the same for a resumed run to be the same run."""
    return {
        "model": source.name,
        "model_hash": source.hash,
        "template_hash": template_hash(tokenizer),
        "data_hash": material.data_hash,
        "eval_data_hash": material.eval_data_hash,
        "rules_hash": material.rules_hash,
        "callbacks_hash": material.callbacks_hash,
        "engine": ENGINE,
        "recipe": {key: value for key, value in recipe.keys().items() if key not in FREE},
        "threads": recipe.threads or machine.threads(),
        "dtype": dtype,
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "processor": machine.processor(),
        "versions": machine.versions(),
    }

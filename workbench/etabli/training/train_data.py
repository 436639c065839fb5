"""What a run trains on, holds out and samples, made from its recipe alone."""

import hashlib
import itertools
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from etabli.checks import custom_rules
from etabli.core import machine, storage, trust
from etabli.core.contracts import Fingerprint, Message, Row
from etabli.core.errors import BadData
from etabli.core.wording import count_of
from etabli.data.dataset import Dataset, find_path, with_unique_ids
from etabli.data.splits import TEST, VALIDATION, is_for_training, split_group
from etabli.models import loading, sources
from etabli.models.sources import Source
from etabli.rendering import token_checks
from etabli.runs import run_template
from etabli.runs.recipe import Recipe
from etabli.training.packing import FailedChecks, TokenizedRow
from etabli.training.tokenize_dataset import tokenize_rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DEFAULT_PROMPTS = 4  # sample prompts, if the recipe names none
# Raised when the same recipe rounds differently: version 1 had whole logits and masks over packs, version 2 took the
# softmax of short rows in float32.
ENGINE = 3
# Keys that may change between a stop and a resume: the weights do not depend on them. Data, rules, callbacks and the
# template are known by their hashes, not by their paths.
FREE = (
    "backup",
    "max_minutes",
    "checkpoint_every",
    "eval_every",
    "sample_every",
    "sample_prompts",
    "data",
    "rules",
    "callbacks",
    "template",
    "keep_dequantized",
)
OpenRows = Callable[[str, Path | None], Dataset]
HELD_OUT_SHARE, HELD_OUT_ROWS = 0.06, 32  # of the rows, and at most so many
MIN_ROWS_TO_SPLIT = 32


@dataclass
class TrainData:
    """Tokenized rows to train on and to hold out, the sample prompts, and what can't be used."""

    rows: list[TokenizedRow]
    held_out: list[TokenizedRow]
    sample_prompts: list[list[Message]]
    untrainable: list[str] = field(default_factory=list)  # ids of rows without a trained token
    data_hash: str = ""
    rules_hash: str | None = None
    callbacks_hash: str | None = None
    eval_data_hash: str | None = None  # of the rows that the recipe's eval_data names
    rule_counts: dict[str, int] = field(default_factory=dict)  # rows that each of the person's own rules matched
    source_rows: list[Row] = field(default_factory=list)  # the rows to train on, before they were tokenized
    source_held_out: list[Row] = field(default_factory=list)
    failed_checks: FailedChecks = field(default_factory=dict)
    reading_warnings: list[str] = field(default_factory=list)  # of the files that data and eval_data name


def load_train_data(
    recipe: Recipe,
    tokenizer: "PreTrainedTokenizerBase",
    run_folder: Path | None = None,
    enforce: bool = True,
    open_rows: OpenRows = Dataset.open,
) -> TrainData:
    """Read, filter, split and tokenize the recipe's data.

    Rows marked ``test`` are never used, and rows marked ``validation`` never trained. Rows that the recipe's ``rules``
    do not keep are left out of training and of what is held out of it, not of ``eval_data``. The held-out rows are
    ``eval_data`` if the recipe names it (its rows marked ``validation``, if there are any), else the rows marked
    ``validation``, else about one row in sixteen, whole templates where rows have one.

    Args:
        run_folder: relative paths are searched there too. enforce: refuse rows that fail a token check.
        open_rows: opens the data sets that the recipe names.

    Raises:
        BadData: nothing to train on, or rows that fail a check, each with its count, first rows and what to do;
        UntrustedCode: this user said no yes to the recipe's rules.
    """
    data = open_rows(recipe.data, run_folder)
    split = split_rows(recipe, data, run_folder, open_rows)
    if not split.train:
        raise BadData(
            f"{recipe.data} has {count_of(len(data.rows), 'row')} and none to train on"
            f"{_describe_rules(split.rule_counts)}."
        )
    rows, untrainable, failed_checks = tokenize_rows(split.train, tokenizer, recipe)
    if enforce:
        _require_checks(failed_checks, len(split.train), recipe)
    callbacks = find_path(recipe.callbacks, run_folder) if recipe.callbacks else None
    return TrainData(
        rows=rows,
        held_out=tokenize_eval_rows(split.held_out, tokenizer, recipe),
        sample_prompts=_choose_sample_prompts(recipe, split),
        untrainable=untrainable,
        data_hash=data.hash,
        rules_hash=split.rules_hash,
        callbacks_hash=storage.sha256(callbacks) if callbacks and callbacks.is_file() else None,
        eval_data_hash=split.eval_data_hash,
        rule_counts=split.rule_counts,
        source_rows=split.train,
        source_held_out=split.held_out,
        failed_checks=failed_checks,
        reading_warnings=[*(f"{recipe.data}: {text}" for text in data.warnings), *split.reading_warnings],
    )


@dataclass
class Split:
    """The rows of a recipe's data before they are tokenized: those to train on, and those held out for the loss."""

    train: list[Row]
    held_out: list[Row]
    rule_counts: dict[str, int]  # rows that each of the person's own rules matched
    rules_hash: str | None = None
    eval_data_hash: str | None = None
    reading_warnings: list[str] = field(default_factory=list)  # of eval_data


def split_rows(
    recipe: Recipe, data: Dataset, run_folder: Path | None = None, open_rows: OpenRows = Dataset.open
) -> Split:
    """Filter the recipe's data and split off the held-out rows; see ``load_train_data``."""
    rules = trust.trusted_code(find_path(recipe.rules, run_folder), "rules") if recipe.rules else None
    rows = with_unique_ids([row for row in data.rows if row.get("split") != TEST])
    kept_rows, rule_counts = custom_rules.filter_rows(rows, custom_rules.load_rules_file(rules) if rules else [])
    usable = [row for row in kept_rows if is_for_training(row)]
    validation_rows = [row for row in kept_rows if row.get("split") == VALIDATION]
    rules_hash = rules.sha256 if rules else None
    if not recipe.eval_data:
        parts = (usable, validation_rows) if validation_rows else hold_out(usable, recipe.seed)
        return Split(*parts, rule_counts, rules_hash)
    eval_data = open_rows(recipe.eval_data, run_folder)
    eval_rows = eval_data.part(VALIDATION) or eval_data.rows
    warnings = [f"{recipe.eval_data}: {text}" for text in eval_data.warnings]
    return Split(usable, eval_rows, rule_counts, rules_hash, eval_data.hash, warnings)


def rows_to_train(recipe: Recipe, data: Dataset, run_folder: Path | None = None) -> list[Row]:
    """Return the rows that a run of this recipe trains on, and no others: all that its baselines may know.

    Under ``empty_rows: leave_out`` the rows are tokenized: only their tokens tell which of them train nothing.
    """
    train = split_rows(recipe, data, run_folder, lambda name, folder: Dataset([])).train  # eval_data is not needed here
    if recipe.empty_rows == "refuse" or not train:
        return train
    template = run_template.read_run_template(recipe, run_folder)
    tokenizer = loading.load_tokenizer(sources.resolve(recipe.model), template)
    untrainable = set(tokenize_rows(train, tokenizer, recipe)[1])
    return [row for row in train if row["id"] not in untrainable]


def _require_checks(failed_checks: FailedChecks, rows: int, recipe: Recipe) -> None:
    """Refuse rows that fail a check. Rows that train nothing may be left out, if the recipe says so, but not all."""
    refuse_empty = recipe.empty_rows == "refuse" or len(failed_checks.get(token_checks.EMPTY, ())) == rows
    refusals = {name: fails for name, fails in failed_checks.items() if name != token_checks.EMPTY or refuse_empty}
    if refusals:
        raise BadData(f"{recipe.data} is not trained as it stands.\n{token_checks.describe_failures(refusals, rows)}")


def _describe_rules(rule_counts: dict[str, int]) -> str:
    counts = ", ".join(f"{name} ({count_of(count, 'row')})" for name, count in rule_counts.items() if count)
    return f": your rules found {counts}" if counts else ""


def hold_out(rows: list[Row], seed: int) -> tuple[list[Row], list[Row]]:
    """Split rows into those to train on and those held out, by template or group of near-copies.

    Fewer than ``MIN_ROWS_TO_SPLIT`` rows are all trained on.
    """
    if len(rows) < MIN_ROWS_TO_SPLIT:
        return rows, []
    max_rows = min(HELD_OUT_ROWS, int(len(rows) * HELD_OUT_SHARE))
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(split_group(row), []).append(row)
    names = sorted(groups)
    random.Random(f"held-out-{seed}").shuffle(names)
    held_out: list[Row] = []
    for name in names:
        if len(held_out) + len(groups[name]) <= max_rows:
            held_out += groups[name]
    held_out_ids = {row["id"] for row in held_out}
    return [row for row in rows if row["id"] not in held_out_ids], held_out


def tokenize_eval_rows(held_out: list[Row], tokenizer: "PreTrainedTokenizerBase", recipe: Recipe) -> list[TokenizedRow]:
    """Return at most ``eval_rows`` held-out rows that have a trained token, as tokens."""
    waiting = held_out if len(held_out) <= recipe.eval_rows else order_eval_rows(held_out)
    tokenized: list[TokenizedRow] = []
    while waiting and len(tokenized) < recipe.eval_rows:
        count = recipe.eval_rows - len(tokenized)
        tokenized += tokenize_rows(waiting[:count], tokenizer, recipe)[0]
        waiting = waiting[count:]
    return tokenized


def order_eval_rows(held_out: list[Row]) -> list[Row]:
    """Return the rows in an order of which every beginning has each language in its share, and at least once.

    It is drawn without the run's seed, so that runs compare the same rows.
    """
    places: dict[object, list[int]] = {}
    shuffled = random.Random("eval-rows").sample(range(len(held_out)), len(held_out))
    for index in shuffled:
        places.setdefault(held_out[index].get("lang"), []).append(index)
    ranked = [(at / len(indices), index) for indices in places.values() for at, index in enumerate(indices)]
    return [held_out[index] for _, index in sorted(ranked)]


def _choose_sample_prompts(recipe: Recipe, split: Split) -> list[list[Message]]:
    """Return the recipe's prompts after the data's own system message, or held-out prompts of each language in turn."""
    if recipe.sample_prompts:
        system = [message for message in split.train[0]["messages"][:1] if message["role"] == "system"]
        return [[*system, {"role": "user", "content": prompt}] for prompt in recipe.sample_prompts]
    by_language: dict[object, list[Row]] = {}
    for row in split.held_out:
        if row["messages"][-1]["role"] != "text":
            by_language.setdefault(row.get("lang"), []).append(row)
    rows = (row for turn in itertools.zip_longest(*by_language.values()) for row in turn if row)
    return [prompt_of(row) for row in itertools.islice(rows, DEFAULT_PROMPTS)]


def prompt_of(row: Row) -> list[Message]:
    """Return a row's messages before its last answer."""
    messages = row["messages"]
    return messages[:-1] if messages[-1]["role"] == "assistant" else messages


def trains_thoughts(recipe: Recipe, rows: Sequence[Row]) -> bool:
    """Return whether a run teaches to think before answering: its policy trains thoughts, and most rows have one."""
    with_thought = sum(any(message.get("reasoning") for message in row["messages"]) for row in rows)
    return recipe.train_on in ("answers_and_reasoning", "all") and 2 * with_thought > len(rows)


def template_hash(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return the sha256 of a tokenizer's chat template."""
    return hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()


def fingerprint(
    recipe: Recipe, source: Source, tokenizer: "PreTrainedTokenizerBase", data: TrainData, dtype: str
) -> Fingerprint:
    """Return what must be the same for a resumed run to be the same run: the section ``frozen`` of its recipe.yaml."""
    return {
        "model": source.name,
        "model_hash": source.hash,
        "template_hash": template_hash(tokenizer),
        "data_hash": data.data_hash,
        "eval_data_hash": data.eval_data_hash,
        "rules_hash": data.rules_hash,
        "callbacks_hash": data.callbacks_hash,
        "engine": ENGINE,
        "thinks": trains_thoughts(recipe, data.source_rows),
        "recipe": {key: value for key, value in recipe.keys().items() if key not in FREE},
        "threads": recipe.threads or machine.threads(),
        "dtype": dtype,
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "processor": machine.processor(),
        "versions": machine.versions(),
    }

"""What a person should know about a run's data and schedule before it trains, in sentences."""

from collections.abc import Iterator

from etabli.data.overlap import find_overlaps
from etabli.data.splits import VALIDATION
from etabli.runs.recipe import Recipe
from etabli.training.train_data import TrainData

FEW_HELD_OUT = 10  # rows: a loss on fewer says little


def list_warnings(recipe: Recipe, data: TrainData, steps: int) -> list[str]:
    """Return one sentence for each thing that the data or the schedule do and that nobody may have meant.

    Args:
        steps: optimiser steps of the whole run.
    """
    return [
        *data.reading_warnings,
        *_about_rows(recipe, data),
        *_about_held_out(recipe, data),
        *_about_schedule(recipe, steps),
    ]


def _about_rows(recipe: Recipe, data: TrainData) -> Iterator[str]:
    for name, count in data.rule_counts.items():
        yield f"Your rule {name} found {count} rows; what a filter finds is left out."
    if data.untrainable:
        yield f"{len(data.untrainable)} rows train nothing once cut at max_length; left out."
    if lost := [row.tokens_lost for row in data.rows if row.tokens_lost]:
        yield (
            f"{len(lost)} of {len(data.rows)} rows are longer than max_length ({recipe.max_length} tokens): they lose "
            f"their end, and with it the token that ends the turn. The longest loses {max(lost):,} tokens. Raise "
            f"max_length to {recipe.max_length + max(lost)}, or leave these rows out."
        )
    if tools_lost := sum(bool(row.tools_lost) for row in data.rows):
        yield (
            f"{tools_lost} of {len(data.rows)} rows have tools that the model's chat template leaves out, whole or in "
            "part: the model is trained without them. Choose a model whose template writes tools, or put "
            "what may be called into the system turn."
        )
    if thoughts_lost := [row.thoughts_lost for row in data.rows if row.thoughts_lost]:
        yield (
            f"{sum(thoughts_lost)} thoughts in {len(thoughts_lost)} of {len(data.rows)} rows are left out: the "
            "model's chat template writes none before a later question (some: none before the answer after a call), so "
            "these turns are trained without their thought. To train them, make a row of each turn."
        )


def _about_held_out(recipe: Recipe, data: TrainData) -> Iterator[str]:
    count = len(data.held_out)
    if 0 < count < FEW_HELD_OUT:
        yield f"The held-out loss is measured on {count} rows: it says little. Name more rows in eval_data."
    is_marked = any(row.get("split") == VALIDATION for row in data.source_held_out)
    if not (recipe.eval_data or is_marked):  # held out of the data themselves
        return
    if overlaps := [kind for kind in find_overlaps(data.source_held_out, data.source_rows) if kind]:
        source = f"eval_data ({recipe.eval_data})" if recipe.eval_data else "the split validation"
        same_question, same_row = overlaps.count("question"), overlaps.count("row")
        yield (
            f"{len(overlaps)} of the {len(data.source_held_out)} rows of {source} are also "
            f"trained: the same question in {same_question}, question and answer in {same_row}. Their loss shows what "
            "was memorised."
        )


def _about_schedule(recipe: Recipe, steps: int) -> Iterator[str]:
    if recipe.lr_scheduler != "range" and recipe.warmup_steps >= steps:
        yield (
            f"The run has {steps} steps and warmup_steps is {recipe.warmup_steps}: the learning rate only rises, to "
            f"{recipe.learning_rate * (steps - 1) / recipe.warmup_steps:.2g}, and never reaches learning_rate "
            f"({recipe.learning_rate:.2g}). Train longer, or set warmup_steps to less than {steps}."
        )

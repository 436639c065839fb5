"""What a person should know about a run's data and schedule before it trains, in sentences."""

from collections.abc import Iterator

from etabli.core.wording import choose_form, count_of
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
        yield f"Your rule {name} found {count_of(count, 'row')}; what a filter finds is left out."
    if data.untrainable:
        count = len(data.untrainable)
        yield f"{count_of(count, 'row trains', 'rows train')} nothing once cut at max_length; left out."
    if lost := [row.tokens_lost for row in data.rows if row.tokens_lost]:
        yield (
            f"{_share(len(lost), data, 'is', 'are')} longer than max_length ({recipe.max_length} tokens): the end "
            f"is lost, and with it the token that ends the turn. The longest loses {count_of(max(lost), 'token')}. "
            f"Raise max_length to {recipe.max_length + max(lost)}, or leave them out."
        )
    if tools_lost := sum(bool(row.tools_lost) for row in data.rows):
        yield (
            f"{_share(tools_lost, data, 'has', 'have')} tools that the model's chat template leaves out, whole or in "
            "part: the model is trained without them. Choose a model whose template writes tools, or put "
            "what may be called into the system turn."
        )
    if thoughts_lost := [row.thoughts_lost for row in data.rows if row.thoughts_lost]:
        yield (
            f"{count_of(sum(thoughts_lost), 'thought')} in {len(thoughts_lost)} of {count_of(len(data.rows), 'row')} "
            f"{choose_form(sum(thoughts_lost), 'is', 'are')} left out: the model's chat template writes none "
            "before a later question (some: none before the answer after a call), so these turns are trained without "
            "their thought. To train them, make a row of each turn."
        )


def _share(count: int, data: TrainData, singular: str, plural: str) -> str:
    """Return how many of the rows, with a verb that agrees: ``1 of 20 rows is``."""
    return f"{count} of {count_of(len(data.rows), 'row')} {choose_form(count, singular, plural)}"


def _about_held_out(recipe: Recipe, data: TrainData) -> Iterator[str]:
    count, available = len(data.held_out), len(data.source_held_out)
    if available > recipe.eval_rows:
        yield (
            f"The held-out loss is measured on {count:,} of {count_of(available, 'row')}, always the same ones. "
            "eval_rows sets the number: more take longer at every measurement."
        )
    elif 0 < count < FEW_HELD_OUT:
        yield f"The held-out loss is measured on {count_of(count, 'row')}: it says little. Name more rows in eval_data."
    if available and not count:
        yield f"There is no held-out loss: of {count_of(available, 'row')} none has a trained token, cut at max_length."
    is_marked = any(row.get("split") == VALIDATION for row in data.source_held_out)
    if not (recipe.eval_data or is_marked):  # held out of the data themselves
        return
    if overlaps := [kind for kind in find_overlaps(data.source_held_out, data.source_rows) if kind]:
        source = f"eval_data ({recipe.eval_data})" if recipe.eval_data else "the split validation"
        same_question, same_row = overlaps.count("question"), overlaps.count("row")
        yield (
            f"{len(overlaps)} of the {count_of(len(data.source_held_out), 'row')} of {source} "
            f"{choose_form(len(overlaps), 'is', 'are')} also trained: the same question in {same_question}, "
            f"question and answer in {same_row}. The loss of such rows shows what was memorised."
        )


def _about_schedule(recipe: Recipe, steps: int) -> Iterator[str]:
    if recipe.lr_scheduler != "range" and recipe.warmup_steps >= steps:
        yield (
            f"The run has {count_of(steps, 'step')} and warmup_steps is {recipe.warmup_steps}: the learning rate only "
            f"rises, to {recipe.learning_rate * (steps - 1) / recipe.warmup_steps:.2g}, and never reaches "
            f"learning_rate ({recipe.learning_rate:.2g}). Train longer, or set warmup_steps to less than {steps}."
        )

"""What the loss sees: the very batch of a step, every token with its role, whether it is trained, and its loss.

The batch is what the collator gives (``training.batches.tensors``), not a rendering of its own.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etabli.core.contracts import VERSION, Lens, LensRow, Message, Row
from etabli.core.errors import BadData, BadInput, DeviceBusy
from etabli.models import likelihood, loading, sources
from etabli.rendering import token_checks
from etabli.rendering.render import POLICIES, Rendered, render
from etabli.runs import recipe_code
from etabli.runs.recipe import Recipe
from etabli.training import train_data
from etabli.training.packing import MASKED, Encoded, Schedule, tensors


def lens(recipe: Recipe | str | Path, step: int = 1, loss: bool = True, trust_code: bool = False):
    """See the batch of a step as the loss sees it: a widget.

    Args:
        recipe: a recipe, its YAML file, or data (the rest by default).
        step: which step, from 1. loss: of every token under the base model, which is loaded for it.
        trust_code: say yes to the rules that a recipe file names, which are run to choose the rows; it is kept.

    Raises:
        BadInput: a step the run does not have; BadRecipe, BadData: as for a run; UntrustedCode: the recipe was read
        from a file, and its rules are none that this user has said yes to.
    """
    from etabli_widgets import MaskLens

    batch = Batch(recipe, step, loss, trust_code)
    return MaskLens(batch.facts, batch)


Spans = Mapping[int, Sequence[Sequence[int]]]  # message -> [first character, one after the last] of its content


class Batch:
    """The batch of a step; ``facts`` is what ``lens`` shows, as plain values. Spans can be chosen in its rows."""

    def __init__(self, recipe: Recipe | str | Path, step: int = 1, loss: bool = True, trust_code: bool = False):
        self.facts, self._rows, self._tokenizer, self._recipe = _look(recipe, step, loss, trust_code)

    def choose(self, row: str, spans: Spans) -> Lens:
        """Train these stretches of a row's messages, and no others, under the policy ``spans``; returns the facts."""
        rows = self.facts["rows"]
        if row not in self._rows:
            raise BadInput(f"Row {row!r} is not in this batch.")
        held = {**self._rows[row], "messages": chosen(self._rows[row]["messages"], spans)}
        told = [
            _row(held, one["ids"], one["nats"], self._tokenizer, self._recipe) if one["id"] == row else one
            for one in rows
        ]
        self._rows[row] = held
        self.facts = {**self.facts, "rows": told, "policies": _policies(told)}
        return self.facts

    def messages(self, row: str) -> list[Message]:
        """A row's messages with the spans chosen: for ``desk.decide("fix", row, messages=...)``."""
        return self._rows[row]["messages"]


def chosen(messages: list[Message], spans: Spans) -> list[Message]:
    """Messages with the stretches that are trained under the policy ``spans``; touching ones are joined."""
    made = []
    for number, turn in enumerate(messages):
        bare = {key: value for key, value in turn.items() if key != "spans"}
        held = _joined(spans.get(number) or [])
        made.append({**bare, "spans": held} if held else bare)
    return made


def _joined(spans: Sequence[Sequence[int]]) -> list[list[int]]:
    made: list[list[int]] = []
    for low, high in sorted(map(list, spans)):
        if made and low <= made[-1][1]:
            made[-1][1] = max(made[-1][1], high)
        else:
            made.append([low, high])
    return made


def _look(
    recipe: Recipe | str | Path, step: int, loss: bool, trust_code: bool
) -> tuple[Lens, dict[str, Row], Any, Recipe]:
    chosen, near = _recipe(recipe)
    recipe_code.agree_to_look(chosen, near, trust_code, f"etabli.lens({str(chosen.file)!r}, trust_code=True)")
    tokenizer = loading.tokenizer(sources.resolve(chosen.model))
    made = train_data.gather(chosen, tokenizer, near, enforce=False)
    schedule = Schedule(made.rows, chosen) if made.rows else None  # no row may be as it must be: then that is shown
    steps = schedule.steps if schedule else 0
    if step < 1 or (schedule and step > steps):
        raise BadInput(f"The run has {steps} steps, counted from 1; there is no step {step}.")
    packs, by_id = schedule.packs(step) if schedule else [], {row["id"]: row for row in made.trained}
    nats, said = _nats(chosen, packs, tokenizer) if loss and packs else ([None] * len(packs), "")
    rows = [line for pack, values in zip(packs, nats) for line in _pack(pack, values, by_id, tokenizer, chosen)]
    held = {name: [list(one) for one in found[:20]] for name, found in made.failed.items()}
    facts: Lens = {
        "version": VERSION, "model": chosen.model, "step": step, "steps": steps, "policy": chosen.policy,
        "max_length": chosen.max_length, "packs": len(packs), "rows": rows, "policies": _policies(rows),
        "failed": held, "failing": {name: len(found) for name, found in made.failed.items()},
        "of": len(made.trained), "said": said,
    }  # fmt: skip
    return facts, {row["id"]: by_id[row["id"]] for row in rows}, tokenizer, chosen


def _recipe(given: Recipe | str | Path) -> tuple[Recipe, Path | None]:
    if isinstance(given, Recipe):
        return given, None
    if Path(given).suffix in (".yaml", ".yml"):
        return Recipe.load(given), Path(given)
    return Recipe(data=str(given)), None


def _nats(recipe: Recipe, packs: Sequence[list[Encoded]], tokenizer: Any) -> tuple[list, str]:
    """The loss of every token of every pack; none while a run owns the device, and why."""
    try:
        loaded = loading.load(recipe.model)
    except DeviceBusy as error:
        return [None] * len(packs), f"No loss: {error}"
    made = [tensors(pack, tokenizer.pad_token_id, loaded.device) for pack in packs]
    loaded.model.eval()
    return [likelihood.per_token(loaded.model, one["input_ids"], one["position_ids"]) for one in made], ""


def _pack(
    pack: list[Encoded], nats: list[float | None] | None, by_id: dict[str, Row], tokenizer: Any, recipe: Recipe
) -> list[LensRow]:
    """The rows of a pack, read back from the tensors that training gets."""
    made = tensors(pack, tokenizer.pad_token_id, "cpu")
    ids = made["input_ids"][0].tolist()
    trained = {at + 1 for at in made["keep"].tolist()}  # what is kept predicts the next token
    rows, start = [], 0
    for one in pack:
        stop = start + len(one.ids)
        made_of = _row(by_id[one.id], ids[start:stop], nats and nats[start:stop], tokenizer, recipe)
        if made_of["trained"][recipe.policy] != [at in trained for at in range(start, stop)]:
            raise AssertionError(f"Row {one.id}: what was rendered is not trained as the batch says.")
        rows.append(made_of)
        start = stop
    return rows


def _row(row: Row, ids: list[int], nats: list[float | None] | None, tokenizer: Any, recipe: Recipe) -> LensRow:
    seen = {policy: render(row["messages"], tokenizer, policy, tools=row.get("tools")) for policy in POLICIES}
    mine, size = seen[recipe.policy], len(ids)
    flags = {policy: [bool(at and flag) for at, flag in enumerate(one.trained[:size])] for policy, one in seen.items()}
    if mine.ids[:size] != ids:
        raise AssertionError(f"Row {row['id']}: what was rendered is not what the batch holds.")
    return {
        "id": row["id"], "ids": ids, "text": mine.text[:size], "role": mine.role[:size],
        "offset": [list(span) for span in mine.offset[:size]], "message": mine.message[:size], "trained": flags,
        "starts": {str(number): at for number, at in mine.starts.items()}, "nats": nats, "cut": len(mine) - size,
        "lengths": {str(number): len(turn["content"]) for number, turn in enumerate(row["messages"])},
        "assertions": {
            policy: [one._asdict() for one in token_checks.of_row(row, held, tokenizer, policy, recipe.max_length)]
            for policy, held in seen.items()
        },
    }  # fmt: skip


def _policies(rows: list[LensRow]) -> dict[str, dict[str, float | int | None]]:
    """What each policy trains of the batch: tokens, their share, and their mean loss."""
    return {policy: _trained(rows, policy) for policy in POLICIES}


def _trained(rows: list[LensRow], policy: str) -> dict[str, float | int | None]:
    flags = [flag for row in rows for flag in row["trained"][policy]]
    nats = [value for row in rows for value in row["nats"] or [None] * len(row["ids"])]
    held = [value for value, flag in zip(nats, flags) if flag and value is not None]
    return {
        "trained": sum(flags), "share": sum(flags) / max(1, len(flags)),
        "loss": sum(held) / len(held) if held else None,
    }  # fmt: skip


def tokens(row: Row, model: str, policy: str, most: int, loss: bool = False) -> dict[str, Any]:
    """What ``etabli data tokens --json`` prints: one row, with its assertions."""
    tokenizer = loading.tokenizer(sources.resolve(model))
    try:
        seen, refused = render(row["messages"], tokenizer, policy, tools=row.get("tools")), None
    except BadData as error:
        seen, refused = Rendered(), token_checks.Assertion(token_checks.TEMPLATE, False, str(error))
    return {
        "ids": seen.ids, "text": seen.text, "role": seen.role, "trained": seen.trained, "offset": seen.offset,
        "share": sum(seen.trained) / max(1, len(seen)), "max_length": most, "cut": max(0, len(seen) - most),
        "nats": _alone(seen, model, most) if loss and not refused else None,
        "assertions": [
            one._asdict()
            for one in ([refused] if refused else token_checks.of_row(row, seen, tokenizer, policy, most))
        ],
    }  # fmt: skip


def _alone(seen: Rendered, model: str, most: int) -> list[float | None]:
    """The loss of every token of one row, none beyond the cut."""
    loaded = loading.load(model)
    loaded.model.eval()
    row = Encoded("", seen.ids[:most], [MASKED] * min(most, len(seen)))
    made = tensors([row], loaded.tokenizer.pad_token_id, loaded.device)
    held = likelihood.per_token(loaded.model, made["input_ids"], made["position_ids"])
    return [*held[: len(row.ids)], *[None] * (len(seen) - len(row.ids))]

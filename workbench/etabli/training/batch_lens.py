"""What the loss sees: the batch of a step, every token with its role, whether it is trained, and its loss.

The batch comes from the collator that training uses (``training.packing.collate``).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from etabli.core.contracts import VERSION, Lens, LensRow, Message, Row, RowTokens, TokenCheck
from etabli.core.errors import BadData, BadInput, DeviceBusy
from etabli.core.progress import show_progress
from etabli.core.wording import count_of
from etabli.models import chat_templates, counting, likelihood, loading, sources
from etabli.rendering import token_checks
from etabli.rendering.masks import POLICIES
from etabli.rendering.render import RenderedConversation, Renderer
from etabli.runs import recipe_code, run_template
from etabli.runs.recipe import Recipe
from etabli.training import train_data
from etabli.training.packing import MASKED, Pack, PackSampler, TokenizedRow, collate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from etabli_widgets import MaskLens

Spans = Mapping[int, Sequence[Sequence[int]]]  # message -> [first character, one after the last] of its content
Losses = list[float | None]  # of each token, in nats
SHOWN_FAILURES = 20  # rows that are listed for a failed check


@show_progress("preparing the batch of a step")
def lens(recipe: Recipe | str | Path, step: int = 1, loss: bool = True, trust_code: bool = False) -> "MaskLens":
    """Return a widget that shows the batch of a step as the loss sees it.

    Args:
        recipe: a recipe, its YAML file, or data (with defaults for the rest).
        step: which step, from 1. loss: show each token's loss under the base model, which is loaded for it.
        trust_code: say yes to the rules that a recipe file names, which are run to choose the rows; the yes is kept.

    Raises:
        BadInput: a step the run does not have; BadRecipe, BadData: as for a run; UntrustedCode: the recipe was read
        from a file, and this user has not said yes to its rules.
    """
    from etabli_widgets import MaskLens

    batch = Batch(recipe, step, loss, trust_code)
    return MaskLens(dict(batch.facts), batch)


class Batch:
    """The batch of a step; ``facts`` is what ``lens`` shows, as plain values. Spans can be chosen in its rows."""

    def __init__(self, recipe: Recipe | str | Path, step: int = 1, loss: bool = True, trust_code: bool = False):
        self._recipe, recipe_path = _open_recipe(recipe)
        command = f"etabli.lens({str(self._recipe.file)!r}, trust_code=True)"
        recipe_code.agree_to_look(self._recipe, recipe_path, trust_code, command)
        template = run_template.read_run_template(self._recipe, recipe_path)
        self._tokenizer = loading.load_tokenizer(_tokenizer_source(self._recipe.model, loss), template)
        self._renderer = Renderer(self._tokenizer)
        data = train_data.load_train_data(self._recipe, self._tokenizer, recipe_path, enforce=False)
        # There may be no row that can be trained; then the failed checks are shown.
        sampler = PackSampler(data.rows, self._recipe) if data.rows else None
        steps = sampler.steps if sampler else 0
        if step < 1 or (sampler and step > steps):
            raise BadInput(f"The run has {count_of(steps, 'step')}, counted from 1; there is no step {step}.")
        packs = sampler.packs(step) if sampler else []
        losses, note = self._losses_of(packs) if loss and packs else ([None] * len(packs), "")
        source_rows = {row["id"]: row for row in data.source_rows}
        self._rows = {row.id: source_rows[row.id] for pack in packs for row in pack}
        rows = [row for pack, pack_losses in zip(packs, losses) for row in self._describe_pack(pack, pack_losses)]
        failures = data.failed_checks.items()
        self.facts: Lens = {
            "version": VERSION,
            "model": self._recipe.model,
            "step": step,
            "steps": steps,
            "policy": self._recipe.train_on,
            "max_length": self._recipe.max_length,
            "packs": len(packs),
            "rows": rows,
            "policies": _summarise_policies(rows),
            "failed": {name: [list(failure) for failure in row_list[:SHOWN_FAILURES]] for name, row_list in failures},
            "failing": {name: len(row_list) for name, row_list in failures},
            "of": len(data.source_rows),
            "said": note,
        }

    def choose(self, row: str, spans: Spans) -> Lens:
        """Train only these stretches of a row's messages under the policy ``spans``; returns the new facts."""
        if row not in self._rows:
            raise BadInput(f"Row {row!r} is not in this batch.")
        new_row: Row = {**self._rows[row], "messages": apply_spans(self._rows[row]["messages"], spans)}
        rows = [
            self._describe_row(new_row, shown_row["ids"], shown_row["nats"]) if shown_row["id"] == row else shown_row
            for shown_row in self.facts["rows"]
        ]
        self._rows[row] = new_row
        self.facts = {**self.facts, "rows": rows, "policies": _summarise_policies(rows)}
        return self.facts

    def messages(self, row: str) -> list[Message]:
        """Return a row's messages with the chosen spans: for ``desk.decide("fix", row, messages=...)``."""
        return self._rows[row]["messages"]

    def _losses_of(self, packs: Sequence[Pack]) -> tuple[Sequence[Losses | None], str]:
        """Return every token's loss, pack by pack; None and the reason while a run owns the device."""
        try:
            loaded_model = loading.load(self._recipe.model, keep_dequantized=False)
        except DeviceBusy as error:
            return [None] * len(packs), f"No loss: {error}"
        batches = [collate(pack, self._tokenizer.pad_token_id, loaded_model.device) for pack in packs]
        loaded_model.model.eval()
        return [
            likelihood.token_losses(loaded_model.model, batch["input_ids"], batch["position_ids"]) for batch in batches
        ], ""

    def _describe_pack(self, pack: Pack, losses: Losses | None) -> list[LensRow]:
        """Return the rows of a pack, read back from the tensors that training gets."""
        batch = collate(pack, self._tokenizer.pad_token_id, "cpu")
        ids = batch["input_ids"][0].tolist()
        trained_positions = {
            position + 1 for position in batch["keep"].tolist()
        }  # a kept position predicts the next token
        rows, start = [], 0
        for pack_row in pack:
            stop = start + len(pack_row.ids)
            row = self._describe_row(self._rows[pack_row.id], ids[start:stop], losses and losses[start:stop])
            if row["trained"][self._recipe.train_on] != [
                position in trained_positions for position in range(start, stop)
            ]:
                raise AssertionError(f"Row {pack_row.id}: the batch trains other tokens than the rendering says.")
            rows.append(row)
            start = stop
        return rows

    def _describe_row(self, row: Row, ids: list[int], losses: Losses | None) -> LensRow:
        renderer, max_length = self._renderer, self._recipe.max_length
        by_policy = {policy: renderer.render(row["messages"], policy, tools=row.get("tools")) for policy in POLICIES}
        rendering, size = by_policy[self._recipe.train_on], len(ids)
        if rendering.ids[:size] != ids:
            raise AssertionError(f"Row {row['id']}: the batch holds other ids than the rendering.")
        return {
            "id": row["id"],
            "ids": ids,
            "text": shown_texts(rendering)[:size],
            "role": rendering.role[:size],
            "offset": [list(span) for span in rendering.offset[:size]],
            "message": rendering.message[:size],
            "trained": {
                policy: [bool(position and flag) for position, flag in enumerate(variant.trained[:size])]
                for policy, variant in by_policy.items()
            },
            "starts": {str(number): start for number, start in rendering.starts.items()},
            "nats": losses,
            "cut": len(rendering) - size,
            "lengths": {str(number): len(turn["content"]) for number, turn in enumerate(row["messages"])},
            "assertions": {
                policy: [
                    cast(TokenCheck, check._asdict())
                    for check in token_checks.check_row(row, variant, renderer, policy, max_length)
                ]
                for policy, variant in by_policy.items()
            },
        }


def shown_texts(rendering: RenderedConversation) -> list[str]:
    """Return each token's text, so that all of them joined are the conversation.

    Tokens of one character's bytes each name the whole character as their place; it is shown at the last of them.
    """
    starts = [low for low, _ in rendering.offset[1:]]
    lengths = [start - low for (low, _), start in zip(rendering.offset, starts)]
    return [*(text[: max(0, length)] for text, length in zip(rendering.text, lengths)), *rendering.text[-1:]]


def apply_spans(messages: list[Message], spans: Spans) -> list[Message]:
    """Return messages with only these stretches marked for the policy ``spans``; touching ones are joined."""
    copies: list[Message] = []
    for number, message in enumerate(messages):
        copy = message.copy()
        copy.pop("spans", None)
        if ranges := _join_spans(spans.get(number) or []):
            copy["spans"] = ranges
        copies.append(copy)
    return copies


def _join_spans(spans: Sequence[Sequence[int]]) -> list[list[int]]:
    ranges: list[list[int]] = []
    for low, high in sorted(map(list, spans)):
        if ranges and low <= ranges[-1][1]:
            ranges[-1][1] = max(ranges[-1][1], high)
        else:
            ranges.append([low, high])
    return ranges


def _tokenizer_source(model: str, with_weights: bool) -> sources.Source:
    """Return where a model's tokenizer is; without weights a folder with a tokenizer alone will do."""
    return sources.resolve(model) if with_weights else sources.Source(model, counting.tokenizer_folder(model), "")


def _open_recipe(source: Recipe | str | Path) -> tuple[Recipe, Path | None]:
    """Return the recipe, and the file it was read from if there is one."""
    if isinstance(source, Recipe):
        return source, None
    if Path(source).suffix in (".yaml", ".yml"):
        return Recipe.load(source), Path(source)
    return Recipe(data=str(source)), None


def _summarise_policies(rows: list[LensRow]) -> dict[str, dict[str, float | int | None]]:
    """Return for each policy the batch's trained tokens, their share, and their mean loss."""
    summaries: dict[str, dict[str, float | int | None]] = {}
    for policy in POLICIES:
        flags = [flag for row in rows for flag in row["trained"][policy]]
        losses = [loss for row in rows for loss in row["nats"] or [None] * len(row["ids"])]
        trained_losses = [loss for loss, flag in zip(losses, flags) if flag and loss is not None]
        summaries[policy] = {
            "trained": sum(flags),
            "share": sum(flags) / max(1, len(flags)),
            "loss": sum(trained_losses) / len(trained_losses) if trained_losses else None,
        }
    return summaries


def describe_tokens(
    row: Row, model: str, policy: str, max_length: int, loss: bool = False, template: str | None = None
) -> RowTokens:
    """Return what ``etabli data tokens --json`` prints: the tokens of one row, with its checks.

    Args:
        template: the chat template of a base model: alpaca, chatml, plain, or a Jinja file.
    """
    chat_template = chat_templates.read_template(template) if template else None
    tokenizer: PreTrainedTokenizerBase = loading.load_tokenizer(_tokenizer_source(model, loss), chat_template)
    try:
        renderer = Renderer(tokenizer)
        rendering = renderer.render(row["messages"], policy, tools=row.get("tools"))
        checks = token_checks.check_row(row, rendering, renderer, policy, max_length)
        losses = _row_losses(rendering, model, max_length) if loss else None
    except BadData as error:
        rendering, losses = RenderedConversation(), None
        checks = [token_checks.Assertion(token_checks.TEMPLATE, False, str(error))]
    return {
        "ids": rendering.ids,
        "text": shown_texts(rendering),
        "role": rendering.role,
        "trained": rendering.trained,
        "offset": rendering.offset,
        "share": sum(rendering.trained) / max(1, len(rendering)),
        "max_length": max_length,
        "cut": max(0, len(rendering) - max_length),
        "nats": losses,
        "assertions": [cast(TokenCheck, check._asdict()) for check in checks],
    }


def _row_losses(rendering: RenderedConversation, model: str, max_length: int) -> Losses:
    """Return the loss of every token of one row; None for those beyond the cut."""
    loaded_model = loading.load(model, keep_dequantized=False)
    loaded_model.model.eval()
    row = TokenizedRow("", rendering.ids[:max_length], [MASKED] * min(max_length, len(rendering)))
    batch = collate([row], loaded_model.tokenizer.pad_token_id, loaded_model.device)
    losses = likelihood.token_losses(loaded_model.model, batch["input_ids"], batch["position_ids"])
    return [*losses[: len(row.ids)], *[None] * (len(rendering) - len(row.ids))]

"""Evaluate a run while it trains: the loss of the held-out rows, and answers to the sample prompts.

Nothing here ends a run: whatever goes wrong becomes a ``warning`` event.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch

from etabli.core.contracts import Message
from etabli.core.errors import NoRoom, NotFinite
from etabli.models import generate, token_divergence
from etabli.models.loading import LoadedModel
from etabli.rendering.render import render
from etabli.runs.recipe import Recipe
from etabli.training import oom
from etabli.training.packed_loss import PackedLoss
from etabli.training.packing import Pack, TokenizedRow, pack_rows
from etabli.training.tensor_counter import TensorCounter

if TYPE_CHECKING:
    from peft import PeftModel

ANSWER_TOKENS = 48  # of an answer to a sample prompt, at most


class Evaluator:
    """Writes held-out losses, by slice, and samples. ``emit`` writes an event."""

    def __init__(
        self,
        packed_loss: PackedLoss,
        loaded_model: LoadedModel,
        recipe: Recipe,
        held_out: list[TokenizedRow],
        sample_prompts: list[list[Message]],
        emit: oom.Emit,
        give_back_matrices: Callable[[str], bool],
    ):
        self._give_back_matrices = give_back_matrices
        self._packed_loss, self._loaded, self._recipe, self._emit = packed_loss, loaded_model, recipe, emit
        self._rows, self._sample_prompts = held_out, sample_prompts
        slices = sorted({row.slice for row in held_out})
        self._packs = {name: pack_rows([row for row in held_out if row.slice == name], recipe, -1) for name in slices}

    def run_preflight(self, counter: TensorCounter | None = None) -> None:
        """Compute the loss of the longest batch that an evaluation can have."""
        if self._rows:
            pack = oom.longest_pack(self._rows, self._recipe)
            phase = oom.measure_phase(self._emit, "evaluation", counter, **oom.pack_sizes(pack))
            with self._errors_as_warnings("The longest evaluation batch"), phase:
                self._loss(pack)

    def evaluate(self, step: int) -> None:
        """Write the mean loss over the held-out rows' trained tokens, together and by slice."""
        if not self._rows:
            return
        with self._errors_as_warnings(f"No held-out loss at step {step}"):
            sums = {name: sum(map(self._loss, packs)) for name, packs in self._packs.items()}
            sizes = {
                name: sum(row.trained_tokens for pack in packs for row in pack) for name, packs in self._packs.items()
            }
            means = {name: sums[name] / sizes[name] for name in sums}
            if not all(map(math.isfinite, means.values())):
                raise NotFinite(f"it is {means}")
            self._emit("eval", step=step, loss=sum(sums.values()) / sum(sizes.values()), by=means)

    @contextlib.contextmanager
    def _errors_as_warnings(self, task: str) -> Iterator[None]:
        """Turn every error inside into a warning."""
        try:
            yield
        except Exception as error:
            self._emit("warning", what=f"{task}: {type(error).__name__}: {error}")

    def _loss(self, pack: Pack) -> float:
        """Return the summed loss of a pack, computed in smaller parts if memory runs out."""
        micro_batches = 1

        def use_smaller_parts(why: str) -> None:
            nonlocal micro_batches
            if self._give_back_matrices(why):
                return
            if micro_batches >= len(pack):
                raise oom.no_room_error(pack, why)
            micro_batches *= 2

        return oom.retry_smaller(
            lambda: sum(map(self._part_loss, oom.split_pack(pack, micro_batches))), use_smaller_parts
        )

    @torch.no_grad()
    def _part_loss(self, pack: Pack) -> float:
        self._packed_loss.eval()
        with self._packed_loss.compute(pack) as loss:
            return float(loss)

    def sample(self, step: int) -> None:
        """Write the greedy answers to the sample prompts, with each token's distance from the base model.

        The random state is unchanged.
        """
        if not self._sample_prompts:
            return
        batch_tokens = generate.BATCH_TOKENS

        def answer_one_by_one(why: str) -> None:
            nonlocal batch_tokens
            if self._give_back_matrices(why):
                return
            if batch_tokens == 1:
                raise NoRoom(why)
            batch_tokens = 1

        with self._errors_as_warnings(f"No answers to the sample prompts at step {step}"):
            samples = oom.retry_smaller(lambda: self._answer(batch_tokens, step), answer_one_by_one)
            for number, sample in enumerate(samples):
                self._emit("sample", step=step, probe=number, **sample)

    def _answer(self, batch_tokens: int, step: int) -> list[dict[str, object]]:
        peft = self._packed_loss.peft
        peft.eval()
        tuned = peft.disable_adapter if _is_untrained(peft) else contextlib.nullcontext
        sides = token_divergence.Sides(peft, peft.disable_adapter, tuned)
        with torch.random.fork_rng(), self._packed_loss.autocast():
            with tuned():
                answers = generate.answer(
                    peft,
                    self._loaded.tokenizer,
                    self._sample_prompts,
                    max_new_tokens=ANSWER_TOKENS,
                    batch_tokens=batch_tokens,
                )
            return [
                {"text": text, "ids": ids, "cut": is_cut, **self._compare_with_base(sides, messages, ids, step)}
                for messages, text, ids, is_cut in zip(self._sample_prompts, answers.texts, answers.ids, answers.cut)
            ]

    def _compare_with_base(
        self, sides: token_divergence.Sides, messages: list[Message], ids: list[int], step: int
    ) -> dict[str, object]:
        """Return an answer's tokens with their log-probabilities under the adapter and without it (TrainingFilm)."""
        tokenizer = self._loaded.tokenizer
        try:
            moves = token_divergence.compare_tokens(sides, tokenizer, render(messages, tokenizer, prompt=True).ids, ids)
        except Exception as error:  # the answer's text is kept without them
            if oom.is_out_of_memory(error):
                raise
            text = f"{type(error).__name__}: {error}"
            self._emit("warning", what=f"The film has text alone at step {step}: {text}")
            return {}
        return {name: moves[name] for name in ("tokens", "logp", "base_logp", "kl")}


def _is_untrained(peft: "PeftModel") -> bool:
    """Return whether the adapter adds exactly zero, as before the first step: A and B alone are trained, B is zero."""
    trained = {name: parameter for name, parameter in peft.named_parameters() if parameter.requires_grad}
    return all("lora_A" in name or ("lora_B" in name and not parameter.any()) for name, parameter in trained.items())

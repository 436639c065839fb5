"""Looking at a run as it goes: the loss of what is held out, and answers to the probes. Neither can end it."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch

from etabli.core.contracts import Message
from etabli.core.errors import NoRoom, NotFinite
from etabli.models import generate, token_divergence
from etabli.models.loading import Loaded
from etabli.rendering.render import render
from etabli.runs.recipe import Recipe
from etabli.training import oom
from etabli.training.packed_loss import Objective
from etabli.training.packing import Encoded, Pack, plan
from etabli.training.tensor_counter import Allocations

ANSWER = 48  # tokens of an answer to a probe


class Looks:
    """Held-out losses, slice by slice, and samples. ``tell`` writes an event."""

    def __init__(
        self,
        objective: Objective,
        loaded: Loaded,
        recipe: Recipe,
        held_out: list[Encoded],
        probes: list[list[Message]],
        tell: oom.Log,
    ):
        self._objective, self._loaded, self._recipe, self._tell = objective, loaded, recipe, tell
        self._rows, self._probes = held_out, probes
        slices = sorted({row.slice for row in held_out})
        self._packs = {name: plan([row for row in held_out if row.slice == name], recipe, -1) for name in slices}

    def rehearse(self, counted: Allocations | None = None) -> None:
        """The longest batch that an evaluation can have."""
        if self._rows:
            pack = oom.longest(self._rows, self._recipe)
            measured = oom.measured(self._tell, "evaluation", counted, **oom.about(pack))
            with self._harmless("The longest evaluation batch"), measured:
                self._loss(pack)

    def evaluate(self, step: int) -> None:
        """Mean loss over the held-out rows' trained tokens, together and by slice."""
        if not self._rows:
            return
        with self._harmless(f"No held-out loss at step {step}"):
            sums = {name: sum(map(self._loss, packs)) for name, packs in self._packs.items()}
            sizes = {name: sum(row.trained for pack in packs for row in pack) for name, packs in self._packs.items()}
            by = {name: sums[name] / sizes[name] for name in sums}
            if not all(map(math.isfinite, by.values())):
                raise NotFinite(f"it is {by}")
            self._tell("eval", step=step, loss=sum(sums.values()) / sum(sizes.values()), by=by)

    @contextlib.contextmanager
    def _harmless(self, what: str) -> Iterator[None]:
        """Whatever goes wrong in here is a warning: a run is not lost for a look at it."""
        try:
            yield
        except Exception as error:
            self._tell("warning", what=f"{what}: {type(error).__name__}: {error}")

    def _loss(self, pack: Pack) -> float:
        """Summed; in smaller parts if memory asks for it. Training is not touched."""
        pieces = 1

        def smaller(why: str) -> None:
            nonlocal pieces
            if pieces >= len(pack):
                raise oom.no_room(pack, why)
            pieces *= 2

        return oom.attempt(lambda: sum(map(self._summed, oom.parts(pack, pieces))), smaller)

    @torch.no_grad()
    def _summed(self, pack: Pack) -> float:
        self._objective.eval()
        with self._objective.of(pack) as loss:
            return float(loss)

    def sample(self, step: int) -> None:
        """Answers to the recipe's probes, greedily, with how far each token is from the base; no dice are thrown."""
        if not self._probes:
            return
        at_once = generate.BATCH_TOKENS

        def smaller(why: str) -> None:
            nonlocal at_once
            if at_once == 1:
                raise NoRoom(why)
            at_once = 1

        with self._harmless(f"No answers to the probes at step {step}"):
            made = oom.attempt(lambda: self._answers(at_once, step), smaller)
            for number, one in enumerate(made):
                self._tell("sample", step=step, probe=number, **one)

    def _answers(self, at_once: int, step: int) -> list[dict[str, Any]]:
        peft = self._objective.peft
        peft.eval()
        with torch.random.fork_rng(), self._objective.autocast():
            made = generate.answer(
                peft, self._loaded.tokenizer, self._probes, max_new_tokens=ANSWER, batch_tokens=at_once
            )
            held = zip(self._probes, made.texts, made.ids)
            return [{"text": text, "ids": ids, **self._moves(probe, ids, step)} for probe, text, ids in held]

    def _moves(self, probe: list[Message], ids: list[int], step: int) -> dict[str, Any]:
        """What the training film shows of an answer: its tokens, under the adapter and without it."""
        peft = self._objective.peft
        sides = token_divergence.Sides(peft, peft.disable_adapter, contextlib.nullcontext)
        try:
            prompt = render(probe, self._loaded.tokenizer, prompt=True).ids
            moves = token_divergence.moves(sides, self._loaded.tokenizer, prompt, ids)
        except Exception as error:  # a picture that can't be taken is no reason to end a run
            if oom.ran_out(error):
                raise
            said = f"{type(error).__name__}: {error}"
            self._tell("warning", what=f"The film has text alone at step {step}: {said}")
            return {}
        return {"tokens": moves["tokens"], **{name: moves[name] for name in ("logp", "base_logp", "kl")}}

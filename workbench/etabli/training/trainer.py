"""The training loop itself: packs in, events and checkpoints out."""

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from etabli.core import machine, storage
from etabli.core.contracts import ADAPTER
from etabli.core.errors import NoRoom, NotFinite
from etabli.models.loading import Loaded
from etabli.runs import checkpoints
from etabli.runs.backup import mirrored
from etabli.runs.events import EventLog
from etabli.runs.recipe import Recipe
from etabli.training import lora_and_optimizer, oom
from etabli.training.callbacks import Callbacks
from etabli.training.evaluator import Looks
from etabli.training.packed_loss import Objective
from etabli.training.packing import Pack, Schedule
from etabli.training.train_data import Material

CLIP = 1.0
ENOUGH_PIECES = 8  # splitting further frees little: then layers are checkpointed first
LEAST_SCALE = 2.0**-10  # a gradient scaler that has come down to this finds no finite gradient at all


class Training:
    """One run's model, optimiser and place in the schedule. On several devices each process has one of these."""

    def __init__(self, run: Path, recipe: Recipe, loaded: Loaded, material: Material, log: EventLog):
        self.run, self.recipe, self.loaded, self.log = run, recipe, loaded, log
        self.schedule = Schedule(material.rows, recipe)
        self.accelerator = _accelerator(loaded)
        self.callbacks = Callbacks(recipe, run, wanted=self.main)
        self.peft = lora_and_optimizer.attach(loaded, recipe)
        self.trainable = [parameter for parameter in self.peft.parameters() if parameter.requires_grad]
        optimizer = lora_and_optimizer.optimizer(self.peft, recipe)
        self.rates = lora_and_optimizer.rates(optimizer, recipe, self.schedule.steps)
        self.optimizer = self.accelerator.prepare(optimizer)
        self.objective = Objective(self.peft, loaded, self.accelerator.autocast, packed=recipe.batch_size != 1)
        # One process needs no wrapper; several need the gradients averaged.
        several = self.accelerator.num_processes > 1
        self.model = self.accelerator.prepare(self.objective) if several else self.objective
        self.looks = Looks(self.objective, loaded, recipe, material.held_out, material.probes, self.tell)
        self.mirror = mirrored(run, recipe, lambda what: self.tell("warning", what=what)) if self.main else None
        self.step = 0
        self.tokens = 0
        self.trying: Pack = []  # what goes through the model now
        self.pieces = 1  # each pack goes through the model in so many parts
        self.thrifty = False  # had every layer to be checkpointed, to have room?
        if self.objective.said:
            self.tell("warning", what=self.objective.said)

    @property
    def main(self) -> bool:
        """Does this process write?"""
        return self.accelerator.is_main_process

    @property
    def checkpointing(self) -> str:
        """On how many layers: none, all, or a number."""
        asked = str(self.recipe.checkpointing)
        return "all" if self.thrifty else "none" if asked == "auto" else asked

    def tell(self, kind: str, **fields: Any) -> None:
        """Write an event, and hand it to the recipe's own functions."""
        if self.main:
            self.log.write(kind, **fields)
        if self.main and self.callbacks.wants(kind):
            with torch.random.fork_rng(), torch.set_grad_enabled(torch.is_grad_enabled()):  # what it does stays its own
                self.callbacks(kind, fields)

    def restore(self, folder: Path) -> None:
        """Go on from a verified checkpoint."""
        state = checkpoints.restore(folder, self.peft, self.optimizer.optimizer)
        self.rates.load_state_dict(state["rates"])
        for group, rate in zip(self.optimizer.param_groups, self.rates.get_last_lr()):
            group["lr"] = rate
        self.step, self.tokens = state["step"], state["tokens"]
        self.pieces = max(self.pieces, state.get("pieces", 1))
        if state.get("thrifty") and not self.thrifty:
            self._save_room()
        if self.accelerator.scaler is not None and state.get("scaler"):
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def save(self) -> None:
        """Write a checkpoint of the current step."""
        if self.main and not (self.run / "checkpoints" / f"step-{self.step:06d}").exists():
            scaler = self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else None
            rates = _plain(self.rates.state_dict())
            made_room = {"pieces": self.pieces, "thrifty": self.thrifty}
            state = {"tokens": self.tokens, "rates": rates, "scaler": scaler, **made_room}
            place = checkpoints.save(
                self.run, self.step, self.peft, self.loaded.source, self.optimizer.optimizer, state
            )
            self.tell("checkpoint", step=self.step, path=str(place.relative_to(self.run)))
            if self.mirror:
                self.mirror.offer(place)
        self.accelerator.wait_for_everyone()

    def finish(self) -> None:
        """Write the final adapter."""
        if self.main:
            with storage.whole(self.run / ADAPTER) as folder:
                checkpoints.save_adapter(self.peft, self.loaded.source, folder)

    def go(self, stop_asked: Callable[[], str | None]) -> str | None:
        """Train until the end or until ``stop_asked`` or a callback gives a reason; returns that reason."""
        self._look(evaluate=True, sample=True)
        self.callbacks.complain()
        while self.step < self.schedule.steps:
            self.one_step()
            last = self.step == self.schedule.steps
            due = {name: last or self.step % getattr(self.recipe, f"{name}_every") == 0 for name in _DUE}
            self._look(due["eval"], due["sample"])
            if due["checkpoint"] or self.agreed(lambda: bool(self.callbacks.error)):  # all of them, or none: it waits
                self.save()
            self.callbacks.complain()
            if not last and (reason := self.agreed(lambda: self.callbacks.reason or stop_asked())):
                self.save()
                return reason
        return None

    def _look(self, evaluate: bool, sample: bool) -> None:
        if not (evaluate or sample):
            return
        if self.main and evaluate:
            self.looks.evaluate(self.step)
        if self.main and sample:
            self.looks.sample(self.step)
        self.accelerator.wait_for_everyone()

    def agreed(self, choose: Callable[[], Any]) -> Any:
        """What the first process chooses, in all of them: to go on from the same step, and to stop at the same."""
        chosen = choose() if self.main else None
        if self.accelerator.num_processes == 1:
            return chosen
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([chosen])[0]

    def one_step(self) -> None:
        """One optimiser step, and its event."""
        began = time.monotonic()
        packs = self.schedule.packs(self.step + 1)
        total = max(1, sum(row.trained for pack in packs for row in pack))
        self.model.train()
        loss, norm = self._update(oom.attempt(lambda: self.backward(packs, total), self.smaller))
        rate = self.rates.get_last_lr()[0]
        if self._optimised(norm):
            self.rates.step()
        self.optimizer.zero_grad()
        self.step += 1
        tokens = sum(len(row.ids) for pack in packs for row in pack)
        self.tokens += tokens
        self.tell(
            "step", step=self.step, loss=loss, lr=rate, grad_norm=norm, tokens=self.tokens, trained_tokens=total,
            tokens_per_s=tokens / (time.monotonic() - began), memory_bytes=machine.memory_bytes(),
        )  # fmt: skip

    def backward(self, packs: list[Pack], total: int) -> list[tuple[Pack, torch.Tensor]]:
        """Gradients of the mean loss over all trained tokens of a step; returns its parts, each with its share.

        Dividing by the step's own total, not by each pack's, keeps accumulation right (transformers #35438).
        """
        world = self.accelerator.num_processes
        shares = packs[self.accelerator.process_index :: world]
        mine = [part for pack in shares for part in oom.parts(pack, self.pieces)]
        idle = not mine  # the last step of an epoch may have fewer packs than there are processes
        losses = []
        for number, self.trying in enumerate(mine or packs[:1], 1):
            with self.last_syncs(idle or number == len(mine)), self.objective.of(self.trying, self.model) as part:
                part = part * (0.0 if idle else 1 / total)
                self.accelerator.backward(part * world)
                losses.append((self.trying, part.detach()))
        return losses

    def _update(self, losses: list[tuple[Pack, torch.Tensor]]) -> tuple[float, float]:
        """The step's loss and gradient norm, both finite. They are read together: the engine waits for the device once.

        With a gradient scaler an infinite norm is ordinary: it skips that step, here with a warning, up to a point.
        """
        loss = torch.stack([part.float() for _, part in losses]).sum()
        if self.accelerator.num_processes > 1:
            loss = self.accelerator.reduce(loss, "sum")
        norm = self.accelerator.clip_grad_norm_(self.trainable, CLIP).to(loss.device).float()
        loss, norm = torch.stack([loss, norm]).tolist()
        scaler = self.accelerator.scaler
        skips = scaler is not None and scaler.get_scale() > LEAST_SCALE
        if math.isfinite(loss) and (math.isfinite(norm) or skips):
            return loss, norm
        self.optimizer.zero_grad()
        culprits = [row.id for pack, part in losses if not part.isfinite() for row in pack]
        rows = culprits or [row.id for pack, _ in losses for row in pack]
        raise NotFinite(
            f"Step {self.step + 1}: loss {loss}, gradient norm {norm}. Nothing was updated; the last checkpoint is "
            f"good. Rows of this {'batch' if culprits else 'step'}: {', '.join(rows[:40])}{' …' * (len(rows) > 40)}. "
            "Try a lower learning_rate."
        )

    def _optimised(self, norm: float) -> bool:
        """Take the optimiser's step; False if the gradient scaler left it out."""
        try:
            self.optimizer.step()
        except Exception as error:
            if not oom.ran_out(error):
                raise
            raise NoRoom(
                f"Memory ran out in the optimiser's step {self.step + 1}, which may be half done: nothing of it was "
                "saved. Resume goes on from the last checkpoint; a new run with optimizer: adamw8bit takes less."
            ) from error
        if skipped := self.optimizer.step_was_skipped:
            what = f"Step {self.step + 1} was skipped: its gradient (norm {norm}) is beyond half precision."
            self.tell("warning", what=what)
        return not skipped

    def last_syncs(self, is_last: bool) -> contextlib.AbstractContextManager:
        """Around the passes of a part: gradients are averaged over devices after the last one alone."""
        return contextlib.nullcontext() if is_last else self.accelerator.no_sync(self.model)

    def smaller(self, why: str) -> None:
        """Split packs further: a part of one did not fit. On several devices all would have to, at once."""
        self.optimizer.zero_grad()
        if self.accelerator.num_processes > 1:
            raise NoRoom(f"Memory ran out on one of several devices ({why}): lower tokens_per_batch or batch_size.")
        saving = self.thrifty or self.recipe.checkpointing != "auto"  # else that comes before ever smaller parts
        if len(self.trying) > 1 and (saving or self.pieces < ENOUGH_PIECES):
            self.pieces *= 2
            self.tell("retry", what=f"each batch in {self.pieces} parts; the effective batch stays", why=why)
        elif not saving:
            self._save_room()
            self.pieces = 1  # there is room for more rows at once now
            self.tell("retry", what="layers are computed again in the backward pass, about a third slower", why=why)
        else:
            raise oom.no_room(self.trying, why)

    def _save_room(self) -> None:
        self.thrifty = True
        lora_and_optimizer.checkpoint_layers(self.peft)


_DUE = ("eval", "sample", "checkpoint")


def _accelerator(loaded: Loaded) -> Any:
    from accelerate import Accelerator

    precision = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "no"}[loaded.dtype]
    return Accelerator(cpu=loaded.device == "cpu", mixed_precision=precision)


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if isinstance(value, int | float | list | bool)}

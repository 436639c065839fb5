"""The training loop itself: packs in, events and checkpoints out."""

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from etabli import environment, storage
from etabli.contracts import ADAPTER
from etabli.errors import NotFinite
from etabli.models.loading import Loaded
from etabli.training import adapters, checkpoints, room
from etabli.training.batches import Pack, Schedule
from etabli.training.callbacks import Callbacks
from etabli.training.events import EventLog
from etabli.training.looks import Looks
from etabli.training.material import Material
from etabli.training.mirror import mirrored
from etabli.training.objective import Objective
from etabli.training.recipe import Recipe

CLIP = 1.0
LEAST_SCALE = 2.0**-10  # a gradient scaler that has come down to this finds no finite gradient at all


class Training:
    """One run's model, optimiser and place in the schedule. On several devices each process has one of these."""

    def __init__(self, run: Path, recipe: Recipe, loaded: Loaded, material: Material, log: EventLog):
        self.run, self.recipe, self.loaded, self.log = run, recipe, loaded, log
        self.callbacks = Callbacks(recipe, run)
        self.schedule = Schedule(material.rows, recipe)
        self.accelerator = _accelerator(loaded)
        self.peft = adapters.attach(loaded, recipe)
        self.trainable = [parameter for parameter in self.peft.parameters() if parameter.requires_grad]
        optimizer = adapters.optimizer(self.peft, recipe)
        self.rates = adapters.rates(optimizer, recipe, self.schedule.steps)
        self.optimizer = self.accelerator.prepare(optimizer)
        self.objective = Objective(self.peft, loaded, self.accelerator.autocast, packed=recipe.batch_size != 1)
        # One process needs no wrapper; several need the gradients averaged.
        several = self.accelerator.num_processes > 1
        self.model = self.accelerator.prepare(self.objective) if several else self.objective
        self.looks = Looks(self.objective, loaded, recipe, material.held_out, material.probes, self.tell)
        self.mirror = mirrored(run, recipe, lambda what: self.tell("warning", what=what)) if self.main else None
        self.step = 0
        self.tokens = 0
        self.pieces = 1  # each pack goes through the model in so many parts
        self.thrifty = False  # had every layer to be checkpointed, to have room?
        if self.objective.said:
            self.tell("warning", what=self.objective.said)

    @property
    def main(self) -> bool:
        """Does this process write?"""
        return self.accelerator.is_main_process

    def tell(self, kind: str, **fields: Any) -> None:
        """Write an event, and hand it to the recipe's own functions."""
        if self.main:
            self.log.write(kind, **fields)
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
        while self.step < self.schedule.steps:
            self.one_step()
            last = self.step == self.schedule.steps
            due = {name: last or self.step % getattr(self.recipe, f"{name}_every") == 0 for name in _DUE}
            self._look(due["eval"], due["sample"])
            if due["checkpoint"]:
                self.save()
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
        loss, norm = room.attempt(lambda: self.backward(packs, total), lambda why: self._smaller(packs, why))
        self._require_finite(loss, norm, [row.id for pack in packs for row in pack])
        rate = self.rates.get_last_lr()[0]
        self.optimizer.step()
        self.rates.step()
        self.optimizer.zero_grad()
        self.step += 1
        tokens = sum(len(row.ids) for pack in packs for row in pack)
        self.tokens += tokens
        self.tell(
            "step", step=self.step, loss=loss, lr=rate, grad_norm=norm, tokens=self.tokens, trained_tokens=total,
            tokens_per_s=tokens / (time.monotonic() - began), memory_bytes=environment.memory_bytes(),
        )  # fmt: skip

    def backward(self, packs: list[Pack], total: int) -> tuple[float, float]:
        """Gradients of the mean loss over all trained tokens of a step; returns that loss, and their norm.

        Dividing by the step's own total, not by each pack's, keeps accumulation right (transformers #35438). Loss and
        norm are read together: the one time in a step that the device is waited for.
        """
        world = self.accelerator.num_processes
        shares = packs[self.accelerator.process_index :: world]
        mine = [part for pack in shares for part in room.parts(pack, self.pieces)]
        idle = not mine  # the last step of an epoch may have fewer packs than there are processes
        loss = torch.zeros((), device=self.loaded.device)
        for number, pack in enumerate(mine or packs[:1], 1):
            with self._last_syncs(idle or number == len(mine)), self.objective.of(pack, self.model) as part:
                part = part * (0.0 if idle else 1 / total)
                self.accelerator.backward(part * world)
                loss += part.detach()
        if world > 1:
            loss = self.accelerator.reduce(loss, "sum")
        norm = self.accelerator.clip_grad_norm_(self.trainable, CLIP)
        loss, norm = torch.stack([loss.float(), norm.to(loss.device).float()]).tolist()
        return loss, norm

    def _last_syncs(self, is_last: bool):
        return contextlib.nullcontext() if is_last else self.accelerator.no_sync(self.model)

    def _smaller(self, packs: list[Pack], why: str) -> None:
        """Split packs further: a step ran out of memory. On several devices all would have to, at once."""
        self.optimizer.zero_grad()
        fullest = max(packs, key=len)
        alone = self.accelerator.num_processes == 1
        if alone and self.pieces < len(fullest):
            self.pieces *= 2
            self.tell("retry", what=f"each batch in {self.pieces} parts; the effective batch stays", why=why)
        elif alone and self.recipe.checkpointing == "auto" and not self.thrifty:
            self._save_room()
            self.tell("retry", what="layers are computed again in the backward pass, about a third slower", why=why)
        else:
            raise room.no_room(fullest, why)

    def _save_room(self) -> None:
        self.thrifty = True
        adapters.checkpoint_layers(self.peft)

    def _require_finite(self, loss: float, norm: float, rows: list[str]) -> None:
        # With a gradient scaler an infinite norm is ordinary: it skips that step and shrinks its scale, up to a point.
        scaler = self.accelerator.scaler
        skips = scaler is not None and scaler.get_scale() > LEAST_SCALE
        if not math.isfinite(loss) or (not math.isfinite(norm) and not skips):
            self.optimizer.zero_grad()
            raise NotFinite(
                f"Step {self.step + 1}: loss {loss}, gradient norm {norm}. Nothing was updated; the last checkpoint is "
                f"good. Rows of this step: {', '.join(rows[:8])}{' …' * (len(rows) > 8)}. Try a lower learning_rate."
            )

    # --- before the first step --------------------------------------------------------------------------------------

    def rehearse(self) -> None:
        """Go once through the longest batch, the optimiser and the longest evaluation batch, and leave no trace.

        What does not fit is told now, not after an hour; what each phase takes is written as ``memory`` events.
        """
        pack = room.longest(self.schedule.rows, self.recipe)
        with torch.random.fork_rng():
            self.model.train()
            room.attempt(lambda: self._there_and_back(pack), lambda why: self._smaller([pack], why))
            with room.measured(self.tell, "optimizer"):
                self._step_nowhere()
            if self.main:
                self.looks.rehearse()

    def _there_and_back(self, pack: Pack) -> None:
        part = max(room.parts(pack, self.pieces), key=lambda part: sum(len(row.ids) for row in part))
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._last_syncs(False))
            with room.measured(self.tell, "forward"):
                loss = stack.enter_context(self.objective.of(part, self.model))
            with room.measured(self.tell, "backward"):
                self.accelerator.backward(loss)

    def _step_nowhere(self) -> None:
        """An optimiser step at rate 0 on gradients of 0: its states are made, and thrown away."""
        optimizer = self.optimizer.optimizer
        rates = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        for parameter in self.trainable:
            if parameter.grad is not None:
                parameter.grad.zero_()
        optimizer.step()
        optimizer.state.clear()
        for group, rate in zip(optimizer.param_groups, rates):
            group["lr"] = rate
        self.optimizer.zero_grad()


_DUE = ("eval", "sample", "checkpoint")


def _accelerator(loaded: Loaded) -> Any:
    from accelerate import Accelerator

    precision = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "no"}[loaded.dtype]
    return Accelerator(cpu=loaded.device == "cpu", mixed_precision=precision)


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if isinstance(value, int | float | list | bool)}

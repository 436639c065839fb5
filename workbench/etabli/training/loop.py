"""The training loop itself: packs in, events and checkpoints out."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etabli import divergence, environment, generation, storage
from etabli.contracts import ADAPTER, Message
from etabli.errors import NotFinite
from etabli.models.loading import Loaded
from etabli.tokens import render
from etabli.training import adapters, checkpoints
from etabli.training.batches import Pack, Schedule, plan, tensors
from etabli.training.events import EventLog
from etabli.training.material import Material
from etabli.training.mirror import mirrored
from etabli.training.recipe import Recipe

CLIP = 1.0


class Training:
    """One run's model, optimiser and place in the schedule. On several devices each process has one of these."""

    def __init__(self, run: Path, recipe: Recipe, loaded: Loaded, material: Material, log: EventLog):
        from transformers import get_scheduler

        self.run, self.recipe, self.loaded, self.log = run, recipe, loaded, log
        self.probes = material.probes
        slices = sorted({row.slice for row in material.held_out})
        self.held_out = {
            name: plan([row for row in material.held_out if row.slice == name], recipe, -1) for name in slices
        }
        self.schedule = Schedule(material.rows, recipe)
        self.accelerator = _accelerator(loaded)
        self.peft = adapters.attach(loaded, recipe)
        self.trainable = [parameter for parameter in self.peft.parameters() if parameter.requires_grad]
        optimizer = adapters.optimizer(self.peft, recipe)
        self.rates = get_scheduler(recipe.schedule, optimizer, recipe.warmup_steps, self.schedule.steps)
        self.optimizer = self.accelerator.prepare(optimizer)
        # One process needs no wrapper; several need the gradients averaged.
        self.model = self.accelerator.prepare(self.peft) if self.accelerator.num_processes > 1 else self.peft
        self.mirror = mirrored(run, recipe, self._warn) if self.main else None
        self.step = 0
        self.tokens = 0

    @property
    def main(self) -> bool:
        """Does this process write?"""
        return self.accelerator.is_main_process

    def _warn(self, what: str) -> None:
        self.log.write("warning", what=what)

    def restore(self, folder: Path) -> None:
        """Go on from a verified checkpoint."""
        state = checkpoints.restore(folder, self.peft, self.optimizer.optimizer)
        self.rates.load_state_dict(state["rates"])
        for group, rate in zip(self.optimizer.param_groups, self.rates.get_last_lr()):
            group["lr"] = rate
        self.step, self.tokens = state["step"], state["tokens"]
        if self.accelerator.scaler is not None and state.get("scaler"):
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def save(self) -> None:
        """Write a checkpoint of the current step."""
        if self.main and not (self.run / "checkpoints" / f"step-{self.step:06d}").exists():
            scaler = self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else None
            state = {"tokens": self.tokens, "rates": _plain(self.rates.state_dict()), "scaler": scaler}
            place = checkpoints.save(
                self.run, self.step, self.peft, self.loaded.source, self.optimizer.optimizer, state
            )
            self.log.write("checkpoint", step=self.step, path=str(place.relative_to(self.run)))
            if self.mirror:
                self.mirror.offer(place)
        self.accelerator.wait_for_everyone()

    def finish(self) -> None:
        """Write the final adapter."""
        if self.main:
            with storage.whole(self.run / ADAPTER) as folder:
                checkpoints.save_adapter(self.peft, self.loaded.source, folder)

    def go(self, stop_asked: Callable[[], str | None], after: Callable[[dict], None]) -> str | None:
        """Train until the end or until ``stop_asked`` gives a reason; returns that reason."""
        self.evaluate()
        self.sample()
        while self.step < self.schedule.steps:
            after(self.one_step())
            last = self.step == self.schedule.steps
            if last or self.step % self.recipe.eval_every == 0:
                self.evaluate()
            if last or self.step % self.recipe.sample_every == 0:
                self.sample()
            if last or self.step % self.recipe.checkpoint_every == 0:
                self.save()
            if not last and (reason := self.agreed(stop_asked)):
                self.save()
                return reason
        return None

    def agreed(self, choose: Callable[[], Any]) -> Any:
        """What the first process chooses, in all of them: to go on from the same step, and to stop at the same."""
        chosen = choose() if self.main else None
        if self.accelerator.num_processes == 1:
            return chosen
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([chosen])[0]

    def one_step(self) -> dict[str, Any]:
        """One optimiser step; returns its event."""
        began = time.monotonic()
        packs = self.schedule.packs(self.step + 1)
        total = max(1, sum(row.trained for pack in packs for row in pack))
        self.model.train()
        loss = self._backward(packs, total)
        rows = [row.id for pack in packs for row in pack]
        norm = float(self.accelerator.clip_grad_norm_(self.trainable, CLIP))
        self._require_finite(loss, norm, rows)
        rate = self.rates.get_last_lr()[0]
        self.optimizer.step()
        self.rates.step()
        self.optimizer.zero_grad()
        self.step += 1
        tokens = sum(len(row.ids) for pack in packs for row in pack)
        self.tokens += tokens
        event = {
            "step": self.step, "loss": loss, "lr": rate, "grad_norm": norm, "tokens": self.tokens,
            "trained_tokens": total, "tokens_per_s": tokens / (time.monotonic() - began),
            "memory_bytes": environment.memory_bytes(),
        }  # fmt: skip
        if self.main:
            self.log.write("step", **event)
        return event

    def _backward(self, packs: list[Pack], total: int) -> float:
        """Gradients of the mean loss over all trained tokens of the step, whichever process has them.

        Dividing by the step's own total, not by each pack's, keeps accumulation right (transformers #35438).
        """
        world = self.accelerator.num_processes
        mine = packs[self.accelerator.process_index :: world]
        idle = not mine  # the last step of an epoch may have fewer packs than there are processes
        loss = 0.0
        for number, pack in enumerate(mine or packs[:1], 1):
            with self._last_syncs(idle or number == len(mine)):
                part = self._loss(self.model, pack) * (0.0 if idle else 1 / total)
                self.accelerator.backward(part * world)
                loss += part.detach()
        if world > 1:
            loss = self.accelerator.reduce(loss, "sum")
        return float(loss)

    def _last_syncs(self, is_last: bool):
        return contextlib.nullcontext() if is_last else self.accelerator.no_sync(self.model)

    def _loss(self, model: Any, pack: Pack) -> Any:
        """Summed cross-entropy of a pack's trained tokens; logits exist for those alone."""
        import torch.nn.functional as F

        made = tensors(pack, self.recipe.tokens_per_batch, self.loaded.tokenizer.pad_token_id, self.loaded.device)
        keep, targets = made.pop("keep"), made.pop("targets")
        with self.accelerator.autocast():
            logits = model(**made, use_cache=False, logits_to_keep=keep).logits[0]
        return F.cross_entropy(logits.float(), targets, reduction="sum")

    def _require_finite(self, loss: float, norm: float, rows: list[str]) -> None:
        # With a gradient scaler an infinite norm is ordinary: the scaler skips that step and shrinks its scale.
        scaled = self.accelerator.scaler is not None
        if loss - loss != 0 or (norm - norm != 0 and not scaled):
            raise NotFinite(
                f"Step {self.step + 1}: loss {loss}, gradient norm {norm}. Nothing was updated; the last checkpoint is "
                f"good. Rows of this step: {', '.join(rows[:8])}{' …' * (len(rows) > 8)}. Try a lower learning_rate."
            )

    def evaluate(self) -> None:
        """Mean loss over the held-out rows' trained tokens."""
        import torch

        if self.held_out and self.main:
            self.model.eval()
            with torch.no_grad():
                sums = {
                    name: sum(float(self._loss(self.peft, p)) for p in packs) for name, packs in self.held_out.items()
                }
            sizes = {name: sum(row.trained for p in packs for row in p) for name, packs in self.held_out.items()}
            loss = sum(sums.values()) / sum(sizes.values())
            self.log.write("eval", step=self.step, loss=loss, by={name: sums[name] / sizes[name] for name in sums})
        self.accelerator.wait_for_everyone()

    def sample(self) -> None:
        """Answers to the recipe's probes, greedily, with how far each token is from the base; no dice are thrown."""
        import torch

        if self.probes and self.main:
            self.model.eval()
            with torch.random.fork_rng(), self.accelerator.autocast():
                made = generation.answer(self.peft, self.loaded.tokenizer, self.probes, max_new_tokens=48)
                for number, (text, ids) in enumerate(zip(made.texts, made.ids)):
                    seen = self._seen(self.probes[number], ids)
                    self.log.write("sample", step=self.step, probe=number, text=text, ids=ids, **seen)
        self.accelerator.wait_for_everyone()

    def _seen(self, probe: list[Message], ids: list[int]) -> dict[str, Any]:
        """What the training film shows of an answer: its tokens, under the adapter and without it."""
        sides = divergence.Sides(self.peft, self.peft.disable_adapter, contextlib.nullcontext)
        try:
            prompt = render(probe, self.loaded.tokenizer, prompt=True).ids
            moves = divergence.moves(sides, self.loaded.tokenizer, prompt, ids)
        except Exception as error:  # a picture that can't be taken is no reason to end a run
            self._warn(f"The film has text alone at step {self.step}: {type(error).__name__}: {error}")
            return {}
        return {"tokens": moves["tokens"], **{name: moves[name] for name in ("logp", "base_logp", "kl")}}


def _accelerator(loaded: Loaded) -> Any:
    import torch
    from accelerate import Accelerator

    precision = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "no"}[loaded.dtype]
    return Accelerator(cpu=loaded.device == "cpu", mixed_precision=precision)


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if isinstance(value, int | float | list | bool)}

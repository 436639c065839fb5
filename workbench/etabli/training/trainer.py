"""The training loop: packs of rows in, events and checkpoints out."""

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from etabli.core import machine, storage
from etabli.core.contracts import ADAPTER, CHECKPOINTS
from etabli.core.errors import NoRoom, NotFinite
from etabli.models.loading import LoadedModel
from etabli.runs import checkpoints
from etabli.runs.backup import make_backup
from etabli.runs.checkpoints import TrainingState
from etabli.runs.events import EventLog, SilentLog
from etabli.runs.recipe import Recipe
from etabli.training import lora_and_optimizer, oom
from etabli.training.callbacks import Callbacks
from etabli.training.evaluator import Evaluator
from etabli.training.packed_loss import PackedLoss
from etabli.training.packing import Pack, PackSampler
from etabli.training.train_data import TrainData

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedTokenizerBase

CLIP = 1.0  # the largest gradient norm of a step
MAX_MICRO_BATCHES = 8  # splitting further frees little: then layers are checkpointed first
MIN_GRADIENT_SCALE = 2.0**-10  # a gradient scaler that has come down to this finds no finite gradient at all
T = TypeVar("T")


class Training:
    """The model, optimiser and current step of one run. On several devices each process has its own."""

    def __init__(
        self, run: Path, recipe: Recipe, loaded_model: LoadedModel, data: TrainData, log: EventLog | SilentLog
    ):
        self.run, self.recipe, self.loaded, self.log = run, recipe, loaded_model, log
        self.sampler = PackSampler(data.rows, recipe)
        self.accelerator = _make_accelerator(loaded_model)
        self.callbacks = Callbacks(recipe, run, enabled=self.is_main)
        self.peft = lora_and_optimizer.add_lora(loaded_model, recipe)
        self.trainable = [parameter for parameter in self.peft.parameters() if parameter.requires_grad]
        optimizer = lora_and_optimizer.make_optimizer(self.peft, recipe)
        self.lr_scheduler = lora_and_optimizer.make_lr_scheduler(optimizer, recipe, self.sampler.steps)
        self.optimizer = self.accelerator.prepare(optimizer)
        self.packed_loss = PackedLoss(self.peft, loaded_model, self.accelerator.autocast, packed=recipe.batch_size != 1)
        # One process needs no wrapper; several need the gradients averaged.
        several = self.accelerator.num_processes > 1
        self.model = self.accelerator.prepare(self.packed_loss) if several else self.packed_loss
        give_back = self.give_back_matrices
        self.evaluator = Evaluator(
            self.packed_loss, loaded_model, recipe, data.held_out, data.sample_prompts, self.emit, give_back
        )
        self.backup = make_backup(run, recipe, self.warn) if self.is_main else None
        self.step = 0
        self.tokens = 0
        self.current_part: Pack = []  # the part of a pack that goes through the model now
        self.micro_batches = 1  # each pack goes through the model in this many parts
        self.recompute_layers = False  # True once memory ran out and every layer was checkpointed
        if self.packed_loss.warning:
            self.warn(self.packed_loss.warning)

    @property
    def is_main(self) -> bool:
        """True in the one process that writes."""
        return bool(self.accelerator.is_main_process)

    @property
    def checkpointing(self) -> str:
        """On how many layers gradients are checkpointed now: ``none``, ``all``, or a number."""
        setting = str(self.recipe.gradient_checkpointing)
        return "all" if self.recompute_layers else "none" if setting == "auto" else setting

    def emit(self, kind: str, **fields: object) -> None:
        """Write an event, and hand it to the recipe's callbacks."""
        if self.is_main:
            self.log.write(kind, **fields)
        if self.is_main and self.callbacks.handles(kind):
            # A callback can change neither the random state nor whether gradients are computed.
            with torch.random.fork_rng(), torch.set_grad_enabled(torch.is_grad_enabled()):
                self.callbacks(kind, fields)

    def warn(self, text: str) -> None:
        """Write a ``warning`` event."""
        self.emit("warning", what=text)

    def restore(self, folder: Path) -> None:
        """Load adapter, optimiser, learning rate and step from a verified checkpoint."""
        state = checkpoints.restore(folder, self.peft, self.optimizer.optimizer)
        self.lr_scheduler.load_state_dict(state["rates"])
        for group, rate in zip(self.optimizer.param_groups, self.lr_scheduler.get_last_lr()):
            group["lr"] = rate
        self.step, self.tokens = state["step"], state["tokens"]
        self.micro_batches = max(self.micro_batches, state.get("pieces", 1))
        if state.get("thrifty") and not self.recompute_layers:
            self._checkpoint_all_layers()
        if self.accelerator.scaler is not None and state.get("scaler"):
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def save(self) -> None:
        """Write a checkpoint of the current step, unless there is one."""
        if self.is_main and not (self.run / CHECKPOINTS / f"{checkpoints.STEP}{self.step:06d}").exists():
            scheduler = self.lr_scheduler.state_dict()
            state: TrainingState = {
                "tokens": self.tokens,
                "rates": {key: value for key, value in scheduler.items() if isinstance(value, int | float | list)},
                "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else None,
                "pieces": self.micro_batches,
                "thrifty": self.recompute_layers,
            }
            source, optimizer = self.loaded.source, self.optimizer.optimizer
            folder = checkpoints.save(
                self.run, self.step, self.peft, source, optimizer, state, self._tokenizer_to_store()
            )
            self.emit("checkpoint", step=self.step, path=str(folder.relative_to(self.run)))
            if self.backup:
                self.backup.offer(folder)
        self.accelerator.wait_for_everyone()

    def finish(self) -> None:
        """Write the final adapter."""
        if self.is_main:
            with storage.write_folder(self.run / ADAPTER) as folder:
                checkpoints.save_adapter(self.peft, self.loaded.source, folder, self._tokenizer_to_store())

    def _tokenizer_to_store(self) -> "PreTrainedTokenizerBase | None":
        """Return the tokenizer if its template is not its base's own: it lies with the adapter then."""
        return self.loaded.tokenizer if self.recipe.template else None

    def train(self, stop_reason: Callable[[], str | None]) -> str | None:
        """Train to the last step; returns why it stopped before, or None.

        Args:
            stop_reason: asked after every step; a text stops the run, as does a callback that returns one.
        """
        self._evaluate(loss=True, samples=True)
        self.callbacks.raise_error()
        while self.step < self.sampler.steps:
            self.train_step()
            is_last = self.step == self.sampler.steps
            self._evaluate(loss=self._is_due("eval"), samples=self._is_due("sample") or self._is_early_frame())
            # Every process calls save() or none does: it waits for the others.
            if self._is_due("checkpoint") or self.decide_together(lambda: bool(self.callbacks.error)):
                self.save()
            self.callbacks.raise_error()
            if not is_last and (reason := self.decide_together(lambda: self.callbacks.reason or stop_reason())):
                self.save()
                return reason
        return None

    def _is_due(self, name: str) -> bool:
        every: int = getattr(self.recipe, f"{name}_every")
        return self.step == self.sampler.steps or self.step % every == 0

    def _is_early_frame(self) -> bool:
        """Say whether the step is 1, 2, 4, 8 … below ``sample_every``: most of what changes changes first."""
        return self.step < self.recipe.sample_every and self.step.bit_count() == 1

    def _evaluate(self, loss: bool, samples: bool) -> None:
        if self.is_main and loss:
            self.evaluator.evaluate(self.step)
        if self.is_main and samples:
            self.evaluator.sample(self.step)
        if loss or samples:
            self.accelerator.wait_for_everyone()

    def decide_together(self, decide: Callable[[], T]) -> T:
        """Return what ``decide`` returns in the main process, in every process, so that all take the same way."""
        decision = decide() if self.is_main else None
        if self.accelerator.num_processes > 1:
            from accelerate.utils import broadcast_object_list

            decision = broadcast_object_list([decision])[0]
        return decision  # type: ignore[return-value]  # the main process's, never the None of the others

    def train_step(self) -> None:
        """Make one optimiser step and write its event."""
        start_time = time.monotonic()
        packs = self.sampler.packs(self.step + 1)
        trained_tokens = max(1, sum(row.trained_tokens for pack in packs for row in pack))
        self.model.train()
        losses = oom.retry_smaller(lambda: self.backward(packs, trained_tokens), self.use_smaller_parts)
        loss, norm = self._clip_gradients(losses)
        rate = self.lr_scheduler.get_last_lr()[0]
        if self._step_optimizer(norm):
            self.lr_scheduler.step()
        self.optimizer.zero_grad()
        self.step += 1
        tokens = sum(len(row.ids) for pack in packs for row in pack)
        self.tokens += tokens
        self.emit(
            "step",
            step=self.step,
            loss=loss,
            lr=rate,
            grad_norm=norm,
            tokens=self.tokens,
            trained_tokens=trained_tokens,
            tokens_per_s=tokens / (time.monotonic() - start_time),
            memory_bytes=machine.memory_bytes(),
        )

    def backward(self, packs: list[Pack], trained_tokens: int) -> list[tuple[Pack, torch.Tensor]]:
        """Compute the gradients of the mean loss over a step's trained tokens; returns each part with its loss.

        The loss is divided by the step's own number of trained tokens, not by each pack's, so that gradient
        accumulation is right (transformers #35438).
        """
        processes = self.accelerator.num_processes
        own_packs = packs[self.accelerator.process_index :: processes]
        parts = [part for pack in own_packs for part in oom.split_pack(pack, self.micro_batches)]
        idle = not parts  # the last step of an epoch may have fewer packs than there are processes
        losses = []
        for number, self.current_part in enumerate(parts or packs[:1], 1):
            is_last = idle or number == len(parts)
            with self.sync_gradients(is_last), self.packed_loss.compute(self.current_part, self.model) as summed_loss:
                loss = summed_loss * (0.0 if idle else 1 / trained_tokens)
                self.accelerator.backward(loss * processes)
                losses.append((self.current_part, loss.detach()))
        return losses

    def _clip_gradients(self, losses: list[tuple[Pack, torch.Tensor]]) -> tuple[float, float]:
        """Clip the gradients; returns the step's loss and gradient norm. One transfer brings both from the device.

        With a gradient scaler an infinite norm is ordinary: the optimiser skips that step.

        Raises:
            NotFinite: the loss is NaN or infinite; or the norm is, and no scaler can help. Names the rows.
        """
        loss = torch.stack([part_loss.float() for _, part_loss in losses]).sum()
        if self.accelerator.num_processes > 1:
            loss = self.accelerator.reduce(loss, "sum")
        norm = self.accelerator.clip_grad_norm_(self.trainable, CLIP).to(loss.device).float()
        loss_value, norm_value = torch.stack([loss, norm]).tolist()
        scaler = self.accelerator.scaler
        can_skip = scaler is not None and scaler.get_scale() > MIN_GRADIENT_SCALE
        if math.isfinite(loss_value) and (math.isfinite(norm_value) or can_skip):
            return loss_value, norm_value
        self.optimizer.zero_grad()
        culprits = [row.id for part, part_loss in losses if not part_loss.isfinite() for row in part]
        rows = culprits or [row.id for part, _ in losses for row in part]
        raise NotFinite(
            f"Step {self.step + 1}: loss {loss_value}, gradient norm {norm_value}. Nothing was updated; the last "
            f"checkpoint is good. Rows of this {'batch' if culprits else 'step'}: {', '.join(rows[:40])}"
            f"{' …' * (len(rows) > 40)}. Try a lower learning_rate."
        )

    def _step_optimizer(self, norm: float) -> bool:
        """Update the weights; returns False if the gradient scaler skipped the step.

        Raises:
            NoRoom: memory ran out in the middle of the update.
        """
        try:
            self.optimizer.step()
        except Exception as error:
            if not oom.is_out_of_memory(error):
                raise
            raise NoRoom(
                f"Memory ran out in the optimiser's step {self.step + 1}, which may be half done: nothing of it was "
                "saved. Resume goes on from the last checkpoint; a new run with optimizer: adamw8bit takes less."
            ) from error
        was_skipped = bool(self.optimizer.step_was_skipped)
        if was_skipped:
            self.warn(f"Step {self.step + 1} was skipped: its gradient (norm {norm}) is beyond half precision.")
        return not was_skipped

    def sync_gradients(self, is_last: bool) -> contextlib.AbstractContextManager[None]:
        """Return a context in which gradients are averaged over devices only if ``is_last``."""
        return contextlib.nullcontext() if is_last else self.accelerator.no_sync(self.model)

    def use_smaller_parts(self, why: str) -> None:
        """Split packs into more parts, or recompute layers, because the current part did not fit.

        Raises:
            NoRoom: nothing can be made smaller; or there are several devices, which would all have to, at once.
        """
        self.optimizer.zero_grad()
        if self.give_back_matrices(why):
            return
        if self.accelerator.num_processes > 1:
            raise NoRoom(f"Memory ran out on one of several devices ({why}): lower tokens_per_batch or batch_size.")
        # With gradient_checkpointing: auto, layers are recomputed before packs are split into ever smaller parts.
        checkpointing_settled = self.recompute_layers or self.recipe.gradient_checkpointing != "auto"
        can_split = checkpointing_settled or self.micro_batches < MAX_MICRO_BATCHES
        if len(self.current_part) > 1 and can_split:
            self.micro_batches *= 2
            text = f"each batch in {self.micro_batches} parts; the effective batch stays"
            self.emit("retry", what=text, why=why)
        elif not checkpointing_settled:
            self._checkpoint_all_layers()
            self.micro_batches = 1  # recomputing frees memory: more rows may fit at once again
            self.emit("retry", what="layers are computed again in the backward pass, about a third slower", why=why)
        else:
            raise oom.no_room_error(self.current_part, why)

    def give_back_matrices(self, why: str) -> bool:
        """Free the dequantised matrices that were kept, because memory ran out; returns False if none were."""
        freed = self.packed_loss.kept_matrices.give_back()
        if freed:
            text = f"{freed / 2**30:.2f} GiB of dequantised matrices given back; they are made again when needed"
            self.emit("retry", what=text, why=why)
        return bool(freed)

    def _checkpoint_all_layers(self) -> None:
        self.recompute_layers = True
        lora_and_optimizer.checkpoint_layers(self.peft)


def _make_accelerator(loaded_model: LoadedModel) -> "Accelerator":
    from accelerate import Accelerator

    precision = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "no"}[loaded_model.dtype]
    return Accelerator(cpu=loaded_model.device == "cpu", mixed_precision=precision)

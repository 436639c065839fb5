"""Before the first step: does the longest batch fit beside the optimiser's states, and how much does each phase take?

A lack of memory shows now, not after an hour. Weights, learning rates, the states' values and the random state stay
unchanged. What stays free is spent on dequantised matrices (``keep_dequantized``).
"""

import contextlib
import math

import torch

from etabli.core import machine
from etabli.core.errors import NoRoom
from etabli.models import kept_matrices
from etabli.training import oom
from etabli.training.packing import Pack
from etabli.training.tensor_counter import TensorCounter
from etabli.training.trainer import Training


def run_preflight(training: Training) -> None:
    """Go once through the longest batch, the optimiser and the longest evaluation batch; writes ``memory`` events.

    Raises:
        NoRoom: the longest row, or the optimiser's states, do not fit however small the batch.
    """
    pack = oom.longest_pack(training.sampler.rows, training.recipe)
    single_process = training.accelerator.num_processes == 1
    with torch.random.fork_rng(), oom.count_tensors(training.peft, single_process) as counter:
        training.model.train()
        oom.retry_smaller(lambda: _step_without_effect(training), lambda why: _refuse_optimizer(training, why))
        most_bytes = oom.retry_smaller(
            lambda: _forward_and_backward(training, pack, counter), training.use_smaller_parts
        )
        with oom.measure_phase(training.emit, "optimizer", counter):
            _step_without_effect(training)
        if training.is_main:
            training.evaluator.run_preflight(counter)
        bytes_at_rest = counter.now if counter else torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
    if single_process:
        _keep_matrices(training, most_bytes - bytes_at_rest)


def _forward_and_backward(training: Training, pack: Pack, counter: TensorCounter | None) -> int:
    """Compute the gradients of the longest part of a pack; returns the most bytes of tensors at once."""
    parts = oom.split_pack(pack, training.micro_batches)
    training.current_part = max(parts, key=lambda part: sum(len(row.ids) for row in part))
    with contextlib.ExitStack() as stack:
        stack.enter_context(training.sync_gradients(False))
        facts = oom.pack_sizes(training.current_part) | {"checkpointing": training.checkpointing}
        with oom.measure_phase(training.emit, "forward", counter, **facts) as forward_bytes:
            loss = stack.enter_context(training.packed_loss.compute(training.current_part, training.model))
        with oom.measure_phase(training.emit, "backward", counter, **facts) as backward_bytes:
            training.accelerator.backward(loss)
    return max(phase_bytes.get("allocated", 0) for phase_bytes in (forward_bytes, backward_bytes))


def _keep_matrices(training: Training, batch_bytes: int) -> None:
    """Keep dequantised matrices in memory that stays free while the largest batch takes ``batch_bytes``."""
    setting = training.recipe.keep_dequantized
    oom.free_memory()
    spare = {"none": 0.0, "all": math.inf, "auto": kept_matrices.SHARE * (machine.free_bytes() - batch_bytes)}[setting]
    matrices = training.packed_loss.kept_matrices
    try:
        kept_bytes = matrices.keep(spare)
    except Exception as error:
        if not oom.is_out_of_memory(error):
            raise
        training.give_back_matrices(str(error))
        return
    if kept_bytes:
        training.emit("memory", phase="dequantized", allocated=kept_bytes)


def _step_without_effect(training: Training) -> None:
    """Step with learning rate 0 on gradients of 0: this allocates the optimiser's states, which hold only zeros."""
    optimizer = training.optimizer.optimizer
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    for parameter in training.trainable:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for state in optimizer.state.values():
        state["step"] = state["step"] * 0
    for group, rate in zip(optimizer.param_groups, rates):
        group["lr"] = rate
    training.optimizer.zero_grad()


def _refuse_optimizer(training: Training, why: str) -> None:
    size = sum(parameter.numel() for parameter in training.trainable)
    raise NoRoom(
        f"The optimiser's states for {size:,} weights do not fit into memory ({why}). Lower lora.rank, or set "
        "optimizer: adamw8bit."
    )

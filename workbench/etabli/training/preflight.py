"""Before the first step: does the longest batch fit beside the optimiser's states, and how much does each phase take?

A lack of memory shows now, not after an hour. Weights, learning rates, the states' values and the random state stay
unchanged.
"""

import contextlib

import torch

from etabli.core.errors import NoRoom
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
        oom.retry_smaller(lambda: _forward_and_backward(training, pack, counter), training.use_smaller_parts)
        with oom.measure_phase(training.emit, "optimizer", counter):
            _step_without_effect(training)
        if training.is_main:
            training.evaluator.run_preflight(counter)


def _forward_and_backward(training: Training, pack: Pack, counter: TensorCounter | None) -> None:
    parts = oom.split_pack(pack, training.micro_batches)
    training.current_part = max(parts, key=lambda part: sum(len(row.ids) for row in part))
    with contextlib.ExitStack() as stack:
        stack.enter_context(training.sync_gradients(False))
        facts = oom.pack_sizes(training.current_part) | {"checkpointing": training.checkpointing}
        with oom.measure_phase(training.emit, "forward", counter, **facts):
            loss = stack.enter_context(training.packed_loss.compute(training.current_part, training.model))
        with oom.measure_phase(training.emit, "backward", counter, **facts):
            training.accelerator.backward(loss)


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

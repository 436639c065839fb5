"""Before the first step: does the longest batch fit, with the optimiser's states there, and what does each phase take?

What does not fit is told now, not after an hour. Weights, rates, the states' values and the dice are left as they were.
"""

import contextlib

import torch

from etabli.core.errors import NoRoom
from etabli.training import oom
from etabli.training.packing import Pack
from etabli.training.tensor_counter import Allocations
from etabli.training.trainer import Training


def rehearse(training: Training) -> None:
    """Go once through the longest batch, the optimiser and the longest evaluation batch; writes ``memory`` events.

    Raises:
        NoRoom: the longest row, or the optimiser's states, do not fit however small the batch.
    """
    pack = oom.longest(training.schedule.rows, training.recipe)
    alone = training.accelerator.num_processes == 1
    with torch.random.fork_rng(), oom.counting(training.peft, alone) as counted:
        training.model.train()
        oom.attempt(lambda: _step_nowhere(training), lambda why: _no_states(training, why))
        oom.attempt(lambda: _there_and_back(training, pack, counted), training.smaller)
        with oom.measured(training.tell, "optimizer", counted):
            _step_nowhere(training)
        if training.main:
            training.looks.rehearse(counted)


def _there_and_back(training: Training, pack: Pack, counted: Allocations | None) -> None:
    parts = oom.parts(pack, training.pieces)
    training.trying = max(parts, key=lambda part: sum(len(row.ids) for row in part))
    with contextlib.ExitStack() as stack:
        stack.enter_context(training.last_syncs(False))
        about = oom.about(training.trying) | {"checkpointing": training.checkpointing}
        with oom.measured(training.tell, "forward", counted, **about):
            loss = stack.enter_context(training.objective.of(training.trying, training.model))
        with oom.measured(training.tell, "backward", counted, **about):
            training.accelerator.backward(loss)


def _step_nowhere(training: Training) -> None:
    """An optimiser step at rate 0 on gradients of 0: its states are made, and hold nothing but zeros."""
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


def _no_states(training: Training, why: str) -> None:
    size = sum(parameter.numel() for parameter in training.trainable)
    raise NoRoom(
        f"The optimiser's states for {size:,} weights do not fit into memory ({why}). Lower lora.rank, or set "
        "optimizer: adamw8bit."
    )

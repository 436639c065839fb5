"""Start the child process that trains in a run folder."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from etabli.core import folders, machine, processes, storage
from etabli.core.contracts import LOG, PROCESS, STOP
from etabli.core.errors import BadInput
from etabli.runs import events
from etabli.runs.recipe import Recipe

# Options of the child: the person handed over this recipe, so it may name any data; and what --allow-outside means.
OWN_RECIPE, ALLOW_OUTSIDE = "--own-recipe", "--allow-outside"


def check_recipe(recipe: Recipe) -> None:
    """Check all that can be checked before a child is started, so that a mistake leaves no failed run behind.

    Fetches the model.

    Raises:
        BadInput: a file is missing, ``devices`` or ``dtype`` does not suit, or LoRA's targets are no modules.
    """
    from etabli.data.names import find_files, split_entry
    from etabli.data.parquet_rows import HOME_COMMANDS
    from etabli.data.reading.hub import is_hub_name
    from etabli.models import chat_templates, lora_names, sources

    steps = recipe.gradient_accumulation_steps
    if steps % recipe.devices:
        raise BadInput(
            f"devices is {recipe.devices} and gradient_accumulation_steps {steps}: each step's packs are shared out, "
            f"so make gradient_accumulation_steps a multiple of {recipe.devices}."
        )
    for key in ("data", "eval_data", "rules", "callbacks"):
        name = getattr(recipe, key)
        path = split_entry(name)[0] if name else ""
        if path and path != HOME_COMMANDS and not find_files(path, None) and not is_hub_name(path):
            raise BadInput(f"{key}: there is no file or folder {name}.")
    if recipe.template:
        chat_templates.read_template(recipe.template, recipe.file.parent if recipe.file else None)
    if why := machine.dtype_refusal(recipe.dtype):
        raise BadInput(why)
    source = sources.resolve(recipe.model)
    lora_names.require_names(recipe.lora.peft_fields(), source.folder, source.name)


def start_child(
    folder: Path, recipe: Recipe, hashes: Sequence[str] = (), options: Sequence[str] = ()
) -> "subprocess.Popen[bytes]":
    """Start the worker in a session of its own: interrupting a cell or ending the kernel does not reach it.

    Args:
        hashes: the sha256 of the files that it may run; it compares them with the bytes it runs.
        options: of ``etabli.training.worker``.
    """
    (folder / STOP).unlink(missing_ok=True)
    threads = str(recipe.threads or machine.threads())
    options = [*options, *[ALLOW_OUTSIDE] * folders.is_outside_allowed()]
    arguments = [str(folder), *options, *(f"--code={sha256}" for sha256 in hashes)]
    with (folder / LOG).open("ab") as log:
        child = subprocess.Popen(
            [*_launcher(recipe.devices), "-m", "etabli.training.worker", *arguments],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=processes.child_environment(OMP_NUM_THREADS=threads, PYTHONUNBUFFERED="1"),
        )
    # The child writes the same of itself later; until then, a reader of the folder should see that it is starting.
    earlier_events = {"events_before": events.count_events(folder)}
    storage.write_json(folder / PROCESS, processes.identity(child.pid) | earlier_events)
    processes.own_device(folder, child.pid)  # from now on, not from when it has loaded its libraries
    return child


def _launcher(devices: int) -> list[str]:
    """Return the command that starts the child: python, or on several devices torchrun.

    ``accelerate launch`` calls torchrun too, on GPUs. On a CPU ``accelerate launch --num_processes 2`` starts one
    process without a warning (accelerate 1.15).
    """
    if devices == 1:
        return [sys.executable]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts", "0"]
    return [*torchrun, "--nproc-per-node", str(devices)]

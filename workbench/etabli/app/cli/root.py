"""The command ``etabli`` and its subcommands."""

import click

from etabli import __version__
from etabli.app.cli import (
    arena,
    curation,
    data,
    evaluate,
    experiments,
    export,
    judging,
    machine,
    memory,
    runs,
    synth,
    tour,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="etabli")
def etabli() -> None:
    """See and test what fine-tuning does, instead of believing it."""


COMMANDS: list[click.Command] = [
    *(tour.tour, tour.lab, machine.doctor, memory.memory, data.data),
    *(runs.train, runs.resume, runs.stop, runs.runs),
    *(evaluate.evaluate, evaluate.compare, arena.arena, arena.votes),
    *(judging.chat, judging.token_diff, judging.film),
    *(experiments.lr_range, experiments.overlay, export.export, export.seal, export.card, synth.synth),
]
for command in COMMANDS:
    etabli.add_command(command)
for command in (curation.prepare, curation.decide, curation.rows, curation.ablate):
    data.data.add_command(command)

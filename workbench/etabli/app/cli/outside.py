"""The option ``--allow-outside`` of every command that reads data which a file names."""

import click

from etabli.core import folders


def _allow(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.with_resource(folders.outside_allowed())


allow_outside = click.option(
    "--allow-outside",
    is_flag=True,
    expose_value=False,
    callback=_allow,
    help="Also read data files outside the folder of the mapping file or the recipe that names them.",
)

"""``--trust-code``: the yes to Python files that a recipe names, on every command that may run them."""

import click

trust_code = click.option(
    "--trust-code",
    is_flag=True,
    help="Say yes to the Python files that the recipe names: they are shown, run, and remembered for you by sha256.",
)

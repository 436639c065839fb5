"""The option ``--trust-code`` of every command that may run Python files which a recipe names."""

import click

trust_code = click.option(
    "--trust-code",
    is_flag=True,
    help="Run the Python files that the recipe names. They are listed first, and remembered for you by sha256.",
)

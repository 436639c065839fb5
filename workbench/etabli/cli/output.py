"""How a command speaks: a JSON object on stdout and nothing else there, or text for a person."""

import contextlib
import functools
import sys
from collections.abc import Callable
from typing import Any

import click

from etabli import storage


def reporting(human: Callable[[Any], str], code: Callable[[Any], int] = lambda result: 0) -> Callable:
    """Give a command ``--json``. The command returns its result; ``human`` makes the text, ``code`` the exit code.

    While it works, whatever libraries print goes to stderr.
    """

    def wrap(command: Callable) -> Callable:
        @click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
        @functools.wraps(command)
        def run(*args: Any, as_json: bool, **kwargs: Any) -> int:
            with contextlib.redirect_stdout(sys.stderr):
                result = command(*args, **kwargs)
            click.echo(storage.to_json(result, indent=1) if as_json else human(result))
            return code(result)

        return run

    return wrap

"""The output of commands: text for a person, or with ``--json`` one JSON object on stdout and nothing else there."""

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import click

from etabli.core import storage
from etabli.core.secrets import cover_secrets_in

Result = TypeVar("Result")


def _json_pieces(result: object) -> Iterable[str]:
    return [storage.to_json(cover_secrets_in(result), indent=1)]


def reporting(
    format_text: Callable[[Result], str],
    exit_code: Callable[[Result], int] = lambda result: 0,
    json_pieces: Callable[[Result], Iterable[str]] = _json_pieces,
) -> Callable[[Callable[..., Result]], Callable[..., int]]:
    """Return a decorator that adds ``--json`` to a command, prints the command's result and returns the exit code.

    While the command works, everything that libraries print goes to stderr.

    Args:
        format_text: makes the text for a person from the command's result.
        exit_code: makes the exit code from the result.
        json_pieces: yields the JSON text; in many pieces where the whole would need too much memory.
    """

    def wrap(command: Callable[..., Result]) -> Callable[..., int]:
        @click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
        @functools.wraps(command)
        def run(*args: object, as_json: bool, **kwargs: object) -> int:
            with _redirect_stdout():
                result = command(*args, **kwargs)
            for piece in json_pieces(result) if as_json else [format_text(result)]:
                click.echo(piece, nl=False)
            click.echo()
            return exit_code(result)

        return run

    return wrap


@contextlib.contextmanager
def _redirect_stdout() -> Iterator[None]:
    """Send everything that is printed to stderr: by Python, by a library in C, or by a process that a score starts."""
    try:
        sys.stdout.flush()
        stdout_copy = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # closed, as under pythonw
        stdout_copy = None
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if stdout_copy is not None:
            os.dup2(stdout_copy, 1)
            os.close(stdout_copy)

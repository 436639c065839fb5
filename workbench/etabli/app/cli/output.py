"""How a command speaks: a JSON object on stdout and nothing else there, or text for a person."""

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click

from etabli.core import storage
from etabli.core.secrets import cover_secrets_in


def _whole(result: Any) -> Iterable[str]:
    return [storage.to_json(cover_secrets_in(result), indent=1)]


def reporting(
    human: Callable[[Any], str],
    code: Callable[[Any], int] = lambda result: 0,
    pieces: Callable[[Any], Iterable[str]] = _whole,
) -> Callable:
    """Give a command ``--json``. The command returns its result; ``human`` makes the text, ``code`` the exit code.

    ``pieces`` makes the JSON, in pieces where the whole would be too large to hold. While it works, whatever libraries
    print goes to stderr.
    """

    def wrap(command: Callable) -> Callable:
        @click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
        @functools.wraps(command)
        def run(*args: Any, as_json: bool, **kwargs: Any) -> int:
            with _quiet_stdout():
                result = command(*args, **kwargs)
            for piece in pieces(result) if as_json else [human(result)]:
                click.echo(piece, nl=False)
            click.echo()
            return code(result)

        return run

    return wrap


@contextlib.contextmanager
def _quiet_stdout() -> Iterator[None]:
    """Whatever is printed goes to stderr: by Python, by a library in C, or by a process that a score starts."""
    try:
        sys.stdout.flush()
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # closed, as under pythonw
        kept = None
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)

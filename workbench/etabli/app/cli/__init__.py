"""The command line: every interactive step has its command.

Each takes ``--json`` (one object on stdout, nothing else there). Ends 0 when all is well, 1 when something is wrong in
what it looked at, 2 when it could not do its work, 130 on Ctrl-C; no traceback without ``--debug``.
"""

import os
import shlex
import sys
import traceback


def main(arguments: list[str] | None = None) -> None:
    """Run a command and leave with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    os.environ["PYTHONSAFEPATH"] = "1"  # processes started from here import nothing from the working folder
    sys.exit(_code([word for word in given if word != "--debug"], debug))


def _code(given: list[str], debug: bool) -> int:
    """Run a command; all that is printed meanwhile passes ``streams``, which covers secrets and obeys nobody."""
    from etabli.core.streams import guarded_streams

    with guarded_streams():
        return _run(given, debug)


def _run(given: list[str], debug: bool) -> int:
    import click

    from etabli.app.cli.root import etabli
    from etabli.core.errors import EtabliError, UntrustedCode

    try:
        return etabli.main(given, prog_name="etabli", standalone_mode=False) or 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("Interrupted.", file=sys.stderr)
        return 130
    except Exception as error:
        if isinstance(error, UntrustedCode):
            error.next_command = shlex.join(["etabli", *given, "--trust-code"])
        if debug:
            traceback.print_exc()
        elif isinstance(error, click.ClickException):
            error.show()
        elif isinstance(error, EtabliError):
            print(f"etabli: {error}", file=sys.stderr)
        else:
            print(f"etabli: {type(error).__name__}: {error} (--debug shows where)", file=sys.stderr)
        return 2

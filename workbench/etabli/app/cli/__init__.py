"""The command line: there is a command for every interactive step.

Each command takes ``--json``: it then prints one object to stdout, and nothing else there. Exit codes: 0 all is well, 1
something is wrong in what was checked, 2 the command could not do its work, 130 Ctrl-C. Tracebacks need ``--debug``.
"""

import os
import shlex
import sys
import traceback


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    os.environ["PYTHONSAFEPATH"] = "1"  # processes started from here import nothing from the working folder
    sys.exit(run_command([word for word in words if word != "--debug"], "--debug" in words))


def run_command(words: list[str], debug: bool) -> int:
    """Run a command and return its exit code. Secrets and control characters in its output are covered."""
    from etabli.core.streams import guarded_streams

    with guarded_streams():
        return _run(words, debug)


def _run(words: list[str], debug: bool) -> int:
    import click

    from etabli.app.cli.root import etabli
    from etabli.core import os_errors
    from etabli.core.errors import EtabliError, UntrustedCode

    try:
        return int(etabli.main(words, prog_name="etabli", standalone_mode=False) or 0)
    except click.exceptions.Exit as done:
        return done.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("Interrupted.", file=sys.stderr)
        return 130
    except Exception as error:
        if isinstance(error, UntrustedCode):
            error.next_command = shlex.join(["etabli", *words, "--trust-code"])
        if debug:
            traceback.print_exc()
        elif isinstance(error, click.ClickException):
            error.show()
        elif isinstance(error, EtabliError):
            print(f"etabli: {error}", file=sys.stderr)
        elif isinstance(error, OSError) and (sentence := os_errors.explain(error)):
            print(f"etabli: {sentence}", file=sys.stderr)
        else:
            print(f"etabli: {type(error).__name__}: {error} (--debug shows where)", file=sys.stderr)
        return 2

"""Templates, patterns and schemas of strangers are followed in a separate process, which can be ended.

The process starts with the first request, and again after it was ended. It has 1 GB of memory (Linux), may write no
files, and has ``SECONDS`` of processor time for a request. See ``confined_worker``.
"""

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from etabli.core.errors import BadInput

SECONDS = 5.0  # processor time for one request
SHARE = 0.01  # seconds that each further job adds; an ordinary template takes a fiftieth of it
STRIKES = 3  # after this many ended requests the subject is refused at once
_WORKER = Path(__file__).with_name("confined_worker.py")
_VARIABLES = ("PATH", "TZ", "SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # passed on; none holds a secret


@contextlib.contextmanager
def process() -> Iterator["ConfinedProcess"]:
    """Yield a process for one piece of work, and end it: nothing stays in memory for the next table."""
    worker = ConfinedProcess()
    try:
        yield worker
    finally:
        worker.close()


class LimitExceeded(BadInput):
    """A template, a pattern or a schema took more time or memory than allowed."""


class ConfinedError(BadInput):
    """A template, a pattern or a schema raised an error. The message is the error's own text."""


class _Answer(TypedDict):
    values: list[Any]
    error: NotRequired[str]
    took: float  # seconds of processor time


class _Account:
    """What one template, pattern or schema has cost so far, and the pid of the process that has its text."""

    def __init__(self, number: int, seconds: float) -> None:
        self.number, self.left = number, seconds
        self.strikes = self.sent_to = 0


class ConfinedProcess:
    """A process that answers one request at a time. After a fork the child starts a process of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._accounts: dict[str, _Account] = {}

    def ask(
        self, action: str, subject: str, seconds: float | None = None, *, jobs: Sequence[object], **request: object
    ) -> list[Any]:
        """Return the values of one request, one for each of ``jobs``.

        Args:
            action: ``render``, ``search``, ``follow`` or ``measure``.
            subject: the template, pattern or schema, or the path of the table that is measured.
            seconds: processor time for the subject, in addition to ``SHARE`` for each job. None: ``SECONDS``.
            jobs: what is rendered, searched or measured; one value comes back for each.
            request: the action's other arguments, as JSON values.

        Raises:
            LimitExceeded: it took too much time or memory; ConfinedError: it raised an error.
        """
        seconds = seconds or SECONDS
        with self._lock:
            account = self._accounts.setdefault(subject, _Account(len(self._accounts), seconds))
            if account.strikes >= STRIKES:
                raise LimitExceeded(f"it took too long {STRIKES} times, so it is not tried again")
            account.left = min(seconds, account.left + SHARE * len(jobs))
            reply = self._reply(
                subject, account, {"action": action, "seconds": max(account.left, SHARE), "jobs": jobs, **request}
            )
            if reply is None:
                account.strikes += 1
                account.left = seconds
                raise LimitExceeded(f"it was ended after {seconds:.0f} s of processor time, or because of its memory")
            account.left -= reply["took"]
        if "error" in reply:
            raise ConfinedError(reply["error"])
        return reply["values"]

    def _reply(self, subject: str, account: _Account, request: dict[str, object]) -> _Answer | None:
        """Return the worker's answer, or None if it was ended."""
        process = self._running_process()
        assert process.stdin is not None and process.stdout is not None
        request["subject"] = account.number
        if account.sent_to != process.pid:
            request["text"] = subject
        line = json.dumps(request, default=_to_plain).encode() + b"\n"
        account.sent_to = process.pid
        try:
            process.stdin.write(line)
            process.stdin.flush()
            answer = process.stdout.readline()
            if answer.endswith(b"\n"):
                reply: _Answer = json.loads(answer)
                return reply
        except OSError:  # the process has just been ended
            self.close()
            return None
        except BaseException:  # an interrupt: the answer to this request must not be read as the next one's
            self.close()
            raise
        self.close()
        return None

    def _running_process(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            self.close()  # the pipes of one that has ended
            self._owner = os.getpid()
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,
            )
        return self._process

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError, AttributeError):
                    pipe.close()  # type: ignore[union-attr]  # both are pipes


def _environment() -> dict[str, str]:
    """Return what the process needs to import jinja2. It gets no tokens and no keys."""
    variables = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    return variables | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _to_plain(value: Any) -> object:
    """Return a value that JSON can hold: a number for numpy's numbers, else the name of the type."""
    if hasattr(value, "dtype") and not getattr(value, "shape", (1,)):
        return value.item()
    return f"<{type(value).__name__}>"


_shared_process = ConfinedProcess()
atexit.register(_shared_process.close)
ask = _shared_process.ask

"""What strangers wrote and a machine has to follow (templates, patterns, schemas), in a process that can be ended.

One small process is started when the first such thing comes, and again when one was ended. It has 1 GB of memory
(Linux), no files to write, and ``SECONDS`` of processor time a request. See ``confined_worker``.
"""

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etabli.core.errors import BadInput

SECONDS = 5.0  # of processor time, for one request
SHARE = 0.01  # seconds each further request may add: an honest template takes a fiftieth of it
STRIKES = 3  # after so many ended requests what was asked is refused at once
_WORKER = Path(__file__).with_name("confined_worker.py")
_KEPT = ("PATH", "TZ", "SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # of the environment: nothing secret


@contextlib.contextmanager
def process() -> Iterator["ConfinedProcess"]:
    """A process for one piece of work, which ends with it: what a table leaves in memory is not the next one's."""
    confined = ConfinedProcess()
    try:
        yield confined
    finally:
        confined.close()


class LimitExceeded(BadInput):
    """A template, a pattern or a schema took more time or memory than it may."""


class ConfinedError(BadInput):
    """A template, a pattern or a schema raised an error; its text is the error's."""


class _Account:
    """What one template, pattern or schema has cost so far, and which process knows it."""

    def __init__(self, number: int, seconds: float) -> None:
        self.number, self.left = number, seconds
        self.strikes = self.sent_to = 0


class ConfinedProcess:
    """A process that answers one request at a time; its state is one process's own."""

    def __init__(self) -> None:
        self._lock, self._process, self._owner = threading.Lock(), None, 0
        self._accounts: dict[str, _Account] = {}

    def ask(self, action: str, subject: str, seconds: float | None = None, **request: Any) -> list[Any]:
        """The values of one request, one for each of ``jobs``.

        Args:
            action: ``render``, ``search``, ``follow`` or ``measure``.
            subject: the template, pattern or schema that is followed, or the path of the table that is measured.
            seconds: of processor time that the subject may take, beside ``SHARE`` for each job; ``SECONDS`` if None.
            request: what the action needs, as JSON.

        Raises:
            Ended: it took too long or too much memory; Refused: it raised an error.
        """
        seconds = seconds or SECONDS
        with self._lock:
            account = self._accounts.setdefault(subject, _Account(len(self._accounts), seconds))
            if account.strikes >= STRIKES:
                raise LimitExceeded(f"it was ended {STRIKES} times for taking too long, so it is not tried again")
            account.left = min(seconds, account.left + SHARE * len(request["jobs"]))
            reply = self._reply(subject, account, {"action": action, "seconds": max(account.left, SHARE), **request})
            if reply is None:
                account.strikes += 1
                account.left = seconds
                raise LimitExceeded(f"it was ended after {seconds:.0f} s of processor time, or for the memory it took")
            account.left -= reply["took"]
        if "error" in reply:
            raise ConfinedError(reply["error"])
        return reply["values"]

    def _reply(self, subject: str, account: _Account, request: dict[str, Any]) -> dict[str, Any] | None:
        """The worker's answer, or None if it was ended."""
        process = self._started()
        request["subject"] = account.number
        if account.sent_to != process.pid:
            request["text"] = subject
        line = json.dumps(request, default=_plain).encode() + b"\n"
        account.sent_to = process.pid
        try:
            process.stdin.write(line)
            process.stdin.flush()
            answer = process.stdout.readline()
            if answer.endswith(b"\n"):
                return json.loads(answer)
        except OSError:  # it has just been ended
            self.close()
            return None
        except BaseException:  # an interrupt: the answer that is still to come is nobody's
            self.close()
            raise
        self.close()
        return None

    def _started(self) -> subprocess.Popen:
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            self._owner = os.getpid()
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, env=_environment(), start_new_session=True,
            )  # fmt: skip
        return self._process

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()


def _environment() -> dict[str, str]:
    """Enough to import jinja2 from where this process has it. Tokens and keys stay here."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _plain(value: Any) -> Any:
    """What JSON does not know, as transformers gives it to a template: numpy's numbers, else the name of the type."""
    if hasattr(value, "dtype") and not getattr(value, "shape", (1,)):
        return value.item()
    return f"<{type(value).__name__}>"


_confined = ConfinedProcess()
atexit.register(_confined.close)
ask = _confined.ask

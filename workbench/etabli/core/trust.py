"""The only place that runs a Python file, and the record of the files that this user trusts.

A folder is data. A file that a person names (an argument of this command or call) is run. A file that a recipe names is
run if the recipe's writer starts the training; everywhere else it needs a yes (``--trust-code``, ``trust_code=True``).
The yes is saved by the file's sha256, only for this user, in ``record_file()``.

A file is read once: the bytes that are hashed are the bytes that are run. ``__pycache__`` is not used.
"""

import functools
import hashlib
import inspect
import json
import os
import stat
import sys
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from etabli.core.contracts import RECIPE
from etabli.core.errors import BadInput, UntrustedCode
from etabli.core.secrets import cover_secrets
from etabli.core.terminal import say

LARGEST_FILE = 2**20  # bytes of a Python file
LARGEST_RECORD = 2**24  # bytes of the record
RECORD = "trusted-code.json"
_trusted_here: set[str] = set()  # sha256 of what this process may run, also where the record can't be written


@dataclass(frozen=True)
class Code:
    """The bytes of a Python file, as they were read, and what they are for: rules, callbacks, encoders, scores."""

    path: Path
    content: bytes = field(repr=False)
    purpose: str

    @functools.cached_property
    def sha256(self) -> str:
        """Hex sha256 of the bytes."""
        return hashlib.sha256(self.content).hexdigest()

    def run(self) -> ModuleType:
        """Run exactly these bytes, and return them as a new module.

        Raises:
            BadInput: they are no Python, or they raised.
        """
        module = ModuleType(f"etabli_{self.purpose}_{self.sha256[:12]}")
        module.__file__ = str(self.path)
        sys.modules[module.__name__] = module
        try:
            # The one place that runs a file; only of bytes that the user said yes to.
            exec(compile(self.content, str(self.path), "exec", dont_inherit=True), module.__dict__)  # nosec B102
        except (Exception, SystemExit) as error:
            del sys.modules[module.__name__]
            raise BadInput(f"{self.path} can't be run: {type(error).__name__}: {error}") from error
        return module


def read_code(path: str | Path, purpose: str) -> Code:
    """Return the bytes of a Python file, without running it.

    Args:
        path: the file; purpose: what it is called in messages, in the plural.

    Raises:
        BadInput: no such file, one that can't be read, or one of more than a mebibyte.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"There is no file of {purpose} {path}.")
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise BadInput(f"The file of {purpose} {path} can't be read: {error.strerror}.") from None
    if len(content) > LARGEST_FILE:
        raise BadInput(f"{path} has more than {LARGEST_FILE} bytes, which no file of {purpose} needs.")
    return Code(path, content, purpose)


def trusted_code(path: str | Path, purpose: str) -> Code:
    """The bytes of a file that a recipe names, if this user said yes to them.

    Raises:
        UntrustedCode: nobody did; BadInput: as ``read_code``.
    """
    code = read_code(path, purpose)
    require([code])
    return code


def require(codes: Sequence[Code], trust_code: bool = False, next_command: str | None = None) -> None:
    """Refuse files that this user has not said yes to; ``trust_code`` is that yes: each is shown, and remembered.

    Args:
        next_command: what to do instead, for the message.

    Raises:
        UntrustedCode: names each file, its sha256, what it is for, and the next command.
    """
    trusted_hashes = _trusted_here | read_record().keys()
    unknown = [code for code in codes if code.sha256 not in trusted_hashes]
    if unknown and not trust_code:
        raise UntrustedCode([(_printable(code.path), code.sha256, code.purpose) for code in unknown], next_command)
    for code in unknown:
        line = f"Trusted from now on: {_printable(code.path)} (sha256 {code.sha256}), a file of {code.purpose}."
        say(line)
    remember(unknown)


def remember(codes: Iterable[Code]) -> None:
    """Save the yes to these files, for this process and in this user's record."""
    codes = list(codes)
    _trusted_here.update(code.sha256 for code in codes)
    if all(code.sha256 in read_record() for code in codes):
        return
    try:
        _add_to_record(codes)
    except OSError as error:
        say(f"{record_file()} can't be written ({error.strerror}): the yes is valid only for this process.")


def trust_hashes(hashes: Iterable[str]) -> None:
    """Let this process run the files with these sha256: its parent process passes on what the person trusts."""
    _trusted_here.update(hashes)


def record_file() -> Path:
    """Return the path of this user's record: in the platform's folder for state, not in the cache or a run."""
    import platformdirs

    return platformdirs.user_state_path("etabli", appauthor=False) / RECORD


def read_record() -> dict[str, object]:
    """Return the files that this user trusts: {sha256: {file, purpose, time}}.

    It is empty if there is no record, or if others could have written it: the record or its folder is a link, belongs
    to another user, or is open to the group or to all.
    """
    file = record_file()
    try:
        if not _only_ours(file.parent.lstat(), stat.S_IFDIR, 0o022):
            return {}
        handle = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file_object:
            is_private = _only_ours(os.fstat(handle), stat.S_IFREG, 0o077)
            record = json.loads(file_object.read(LARGEST_RECORD)) if is_private else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _only_ours(facts: os.stat_result, kind: int, closed_bits: int) -> bool:
    """Return whether it is of this kind, this user's own, and closed to others (as on Windows always)."""
    if stat.S_IFMT(facts.st_mode) != kind:
        return False
    return os.name == "nt" or (facts.st_uid == os.geteuid() and not facts.st_mode & closed_bits)


def _add_to_record(codes: Sequence[Code]) -> None:
    from filelock import FileLock, Timeout

    file = record_file()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with FileLock(file.with_name(f".{RECORD}.lock"), timeout=10, mode=0o600):
            record = read_record()  # before the folder is closed: what others could write is not taken over
            file.parent.chmod(0o700)
            now = time.strftime("%Y-%m-%dT%H:%M:%S")
            record |= {
                code.sha256: {"file": cover_secrets(str(code.path.absolute())), "purpose": code.purpose, "time": now}
                for code in codes
            }
            _replace_record(file, json.dumps(record, indent=1).encode("ascii") + b"\n")
    except Timeout as error:
        raise OSError(None, "another process holds its lock") from error


def _replace_record(file: Path, content: bytes) -> None:
    """Write the record to a temporary file, only for this user, and rename it: it is never half-written."""
    temporary = file.with_name(f".{RECORD}.{uuid.uuid4().hex[:8]}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file_object:
            file_object.write(content)
            file_object.flush()
            os.fsync(file_object.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def in_run_folder(path: str | Path) -> bool:
    """Return whether a file lies in the folder of a run, or below it. Such a folder is data, whoever wrote it."""
    path = Path(path)
    parents = {*path.absolute().parents, *path.resolve().parents}
    return any((folder / RECIPE).is_file() for folder in parents)


def is_own_function(item: object, module: ModuleType, name: str) -> bool:
    """Return whether ``item`` is a public function that the module itself defines."""
    own = callable(item) and getattr(item, "__module__", None) == module.__name__
    return own and not inspect.isclass(item) and not name.startswith("_")


def _printable(path: Path) -> str:
    """Return a path without control characters for a terminal."""
    return str(path) if str(path).isprintable() else ascii(str(path))

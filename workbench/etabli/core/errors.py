"""The tree of errors. Every message names the cause, the value and the next action.

EtabliError
├── BadInput            an argument or a file can't be used (exit code 2)
│   ├── UnknownModel    a name that is no folder, no Hub id that answers, and not ``default``
│   ├── GatedModel      a licence has to be accepted before the weights can be loaded
│   ├── BadRecipe       a recipe with mistakes: the message lists all of them
│   ├── BadData         a data file or folder that can't be read as rows
│   │   ├── BadRows     rows have errors; they can be left out
│   │   └── Unreadable  not even the first row; ``code`` says why, as in ``etabli data check``
│   ├── MissingData     the data that a run names are gone, and can't be compared with what it was trained on
│   ├── NotWritable     no permission to write there, or a read-only disk; also an OSError
│   ├── OutsideFolder   a name, a link or a pipe that leads out of the folder it lies in
│   ├── UntrustedCode   a Python file that a recipe names, and that this user has not said yes to
│   └── WrongAdapter    an adapter made for another base
├── Damaged             a file is missing, half-written or altered, by its checksum
├── DeviceBusy          a run uses the device
├── RunLocked           another process writes the run folder
├── NoSpace             the disk is full, or would be
├── NoRoom              a row does not fit into memory, however small the batch
├── MissingExtra        an optional package is not installed
└── NotFinite           a loss, a gradient or a weight is NaN or infinite
"""

from collections.abc import Sequence

from etabli.core.terminal import to_printable


class EtabliError(Exception):
    """Base of all errors that établi raises on purpose. Secrets are covered and control characters written out."""

    def __str__(self) -> str:
        return to_printable(super().__str__())

    def __repr__(self) -> str:
        return to_printable(super().__repr__())


class BadInput(EtabliError):
    """An argument or a file can't be used."""


class UnknownModel(BadInput):
    """No model of that name can be found."""


class GatedModel(BadInput):
    """The weights exist, but a licence has to be accepted first."""


class BadRecipe(BadInput):
    """A recipe with mistakes; ``problems`` lists each as ``key: what is wrong``."""

    def __init__(self, problems: list[str], source: str = "recipe"):
        self.problems = problems
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"{source} has {len(problems)} mistake{'s' * (len(problems) > 1)}:\n{lines}")


class BadData(BadInput):
    """A data file or folder that can't be read as rows of conversations."""


class BadRows(BadData):
    """A source whose rows have errors: corrected, or left out, the others can be read."""


class Unreadable(BadData):
    """A file or a source of which no row can be read; ``code`` is one of the catalogue's."""

    def __init__(self, code: str, message: str, line: int | None = None):
        self.code, self.line = code, line
        super().__init__(message)


class MissingData(BadInput):
    """The data that a run names are gone, and can't be compared with what it was trained on."""


class NotWritable(BadInput, OSError):
    """No permission to write there, or a read-only disk. Who expects an ``OSError`` gets one."""


class OutsideFolder(BadInput):
    """A name or a link that leads out of the folder it lies in, or no ordinary file."""


class UntrustedCode(BadInput):
    """Python files that a recipe names, and that this user has not said yes to; ``files`` are (path, sha256, purpose).

    ``next_command`` is what the message says to do; the command line puts its own command there.
    """

    def __init__(self, files: Sequence[tuple[str, str, str]], next_command: str | None = None):
        super().__init__(files, next_command)
        self.files = files
        self.next_command = next_command or "the same call and trust_code=True (at the command line: --trust-code)"

    def __str__(self) -> str:
        files = "; ".join(f"{path} (sha256 {sha256[:12]}), a file of {purpose}" for path, sha256, purpose in self.files)
        return to_printable(
            f"Code that a recipe names was not run: {files}. Code can do everything that you can do: read your files, "
            "send them away, delete them. If you wrote it, or have read it and trust it, say yes with "
            f"{self.next_command}. The yes is saved for exactly these bytes, and only for you."
        )


class WrongAdapter(BadInput):
    """An adapter that was trained on another base."""


class Damaged(EtabliError):
    """A folder whose files do not match its manifest."""


class DeviceBusy(EtabliError):
    """A training run uses the device."""


class RunLocked(EtabliError):
    """Another process writes the run folder."""


class NoSpace(EtabliError):
    """The disk is full, or would be."""


class NoRoom(EtabliError):
    """A row does not fit into memory, however small the batch."""


class MissingExtra(EtabliError):
    """An optional package is not installed."""


class NotFinite(EtabliError):
    """A loss, a gradient or a weight is NaN or infinite."""

"""What the operating system refuses, as a sentence with cause, path and next step."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from etabli.core.errors import NotWritable
from etabli.core.parsing import short_repr

_IN_THE_WAY = "is in the way: a file is where a folder is needed. Move it, or choose another name."
_SENTENCES = {
    errno.EACCES: "can't be used: this user has no permission. Change its permissions, or choose another folder.",
    errno.EPERM: "can't be changed: this user has no permission. Choose another folder.",
    errno.EROFS: "can't be written: its disk is read-only. Choose another folder (Kaggle: under /kaggle/working).",
    errno.ENAMETOOLONG: "is a name longer than this disk allows (255 bytes for one part). Choose a shorter one.",
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.EISDIR: "is a folder, where a file is needed. Name the file.",
    errno.ENOTEMPTY: "is not empty. Choose another folder, or empty it.",
    errno.ENOENT: "does not exist. Look for a misspelt name; relative paths begin at the current folder.",
    errno.EMFILE: "can't be opened: this process has too many open files. Raise the limit with `ulimit -n 4096`.",
}

_NO_WRITING = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def permission_errors(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write ``path`` into ``NotWritable``, with a sentence about that path."""
    try:
        yield
    except NotWritable:
        raise
    except OSError as error:
        if error.errno not in _NO_WRITING:
            raise
        raise NotWritable(f"{short_repr(str(path))} {_SENTENCES[error.errno]}") from error


def require_writable(path: Path) -> None:
    """Check, before long work, that a file or a folder can be written.

    Raises:
        NotWritable: this user has no permission, or the disk is read-only.
    """
    place = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not os.access(place, os.W_OK):
        raise NotWritable(f"{short_repr(str(path))} {_SENTENCES[errno.EACCES]}")


def explain(error: OSError) -> str | None:
    """Return a sentence about an error of files and folders; None if it is about something else."""
    sentence = _SENTENCES.get(error.errno or 0)
    name = error.filename if error.filename is not None else error.filename2
    if sentence is None or name is None:
        return None
    return f"{short_repr(os.fsdecode(name) if isinstance(name, bytes) else str(name))} {sentence}"

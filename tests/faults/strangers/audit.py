"""The audit hook of a child: what it executes, whom it asks, what it opens outside its folders."""

import os
import socket
import stat
import sys
from pathlib import Path
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
ASKED_FOR = ("huggingface.co", "hf.co")  # the Hub may be asked for a model that a recipe names


class Watch:
    """The audit hook of a child. It can't be taken off again."""

    def __init__(self, folder: Path):
        self.folder, self.seen = folder, []
        self.outside: set[tuple[int, int] | None] = set()
        sys.addaudithook(self._audit)

    def look_outside(self) -> None:
        """Which files are out of bounds, however they are called."""
        self.outside = {_inode(path) for path in (self.folder / "outside").rglob("*")} - {None}

    def _audit(self, event: str, arguments: tuple) -> None:
        handler = {
            "exec": self._exec,
            "open": self._open,
            "socket.connect": self._connect,
            "socket.getaddrinfo": self._lookup,
            "subprocess.Popen": self._spawn,
            "os.system": self._spawn,
            "os.exec": self._spawn,
            "os.posix_spawn": self._spawn,
            "pickle.find_class": self._pickle,
        }.get(event)
        if handler:
            handler(*arguments)

    def _note(self, kind: str, detail: Any) -> None:
        self.seen.append((kind, str(detail)[:300]))

    def _exec(self, code: Any) -> None:
        if str(getattr(code, "co_filename", "")).startswith((str(self.folder / "home"), str(self.folder / "outside"))):
            self._note("executed", code.co_filename)

    def _spawn(self, *arguments: Any) -> None:
        if str(self.folder / "marks") in str(arguments) or "evil" in str(arguments):
            self._note("executed", arguments)

    def _pickle(self, module: str, name: str) -> None:
        if (module, name) in (("posix", "system"), ("os", "system")):
            self._note("executed", f"pickle of {module}.{name}")

    def _connect(self, _: Any, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            self._refuse(address[0])

    def _lookup(self, host: Any, *_: Any) -> None:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in (None, "", "localhost", "127.0.0.1", "::1", socket.gethostname()):
            self._refuse(name)

    def _refuse(self, host: str) -> None:
        if host not in ASKED_FOR:
            self._note("fetched", host)
        raise ConnectionRefusedError(f"no network: {host}")

    def _open(self, path: Any, mode: Any, flags: Any) -> None:
        if not isinstance(path, str | bytes):
            return
        follows = not (isinstance(flags, int) and flags & os.O_NOFOLLOW)
        if _inode(path, follows) in self.outside:
            self._note("left", f"opened {os.fsdecode(path)}")
        elif isinstance(flags, int) and flags & WRITES:
            place = os.path.realpath(os.fsdecode(path))
            if not place.startswith((str(self.folder) + "/", "/dev/", "/proc/")):
                self._note("left", f"wrote {place}")


def _inode(path: Any, follows: bool = True) -> tuple[int, int] | None:
    try:
        info = Path(os.fsdecode(path)).stat(follow_symlinks=follows)
    except (OSError, ValueError):
        return None
    return None if stat.S_ISDIR(info.st_mode) else (info.st_dev, info.st_ino)

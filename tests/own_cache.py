"""Caches of the tests' own: the converted model is shared, nothing else of a person's cache is read or written."""

from pathlib import Path

from etabli.core import machine

MODELS = (machine.cache_folder() / "models").resolve()  # read once, before the tests choose another cache


def cache_in(folder: Path) -> Path:
    """Make a cache folder that holds the embedded model and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "models").symlink_to(MODELS)
    return folder

"""The option ``--base``: the base model of an adapter's folder that does not name it."""

from typing import TYPE_CHECKING

import click

from etabli.core.progress import show_progress

if TYPE_CHECKING:
    from etabli.runs.run import Run

base_option = click.option(
    "--base", help="Base model of an adapter from elsewhere (PEFT folder): a Hub id, a folder or default."
)


def open_place(place: str, base: str | None) -> "Run | str":
    """Return a place as it is, or, if its base is named, the view of the adapter in it."""
    with show_progress("loading libraries"):
        from etabli.runs.adapter_run import open_adapter

    return place if base is None else open_adapter(place, base)

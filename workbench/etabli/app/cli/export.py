"""``etabli export``."""

import click

from etabli.app.cli.base_option import base_option, open_place
from etabli.app.cli.output import reporting
from etabli.core.contracts import Export
from etabli.core.progress import show_progress


def _format_files(result: Export) -> str:
    return "\n".join(result["files"])


@click.command()
@click.argument("folder")
@base_option
@click.option("--to", "form", type=click.Choice(["adapter", "merged"]), default="adapter", show_default=True)
@click.option("--out", required=True, help="Folder to write.")
@reporting(_format_files)
def export(folder: str, base: str | None, form: str, out: str) -> Export:
    """Export the adapter of the run FOLDER, or of a PEFT folder, alone or merged into its base model."""
    with show_progress("loading libraries"):
        from etabli.export import merge

    place = open_place(folder, base)
    files = merge.export_adapter(place, out) if form == "adapter" else merge.merge(place, out)
    return {"files": files, "parity": "not run"}

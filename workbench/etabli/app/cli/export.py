"""``etabli export``."""

import click

from etabli.app.cli.output import reporting
from etabli.core.contracts import Export


def _format_files(result: Export) -> str:
    return "\n".join(result["files"])


@click.command()
@click.argument("folder")
@click.option("--to", "form", type=click.Choice(["adapter", "merged"]), default="adapter", show_default=True)
@click.option("--out", required=True, help="Folder to write.")
@reporting(_format_files)
def export(folder: str, form: str, out: str) -> Export:
    """Export the adapter of the run FOLDER, alone or merged into its base model."""
    from etabli.export import merge

    files = merge.export_adapter(folder, out) if form == "adapter" else merge.merge(folder, out)
    return {"files": files, "parity": "not run"}

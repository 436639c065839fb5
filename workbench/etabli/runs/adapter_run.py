"""A PEFT adapter's folder in a run's place: judged and exported like a run, whoever trained it.

Nothing is known of its training: no rows, no recipe but the base and LoRA's own settings. So the baselines that need
training rows are left out, and the test rows have to be named (``--data``).
"""

import os
from pathlib import Path

from etabli.core import folders
from etabli.core.contracts import RECIPE, Fingerprint
from etabli.core.errors import BadInput
from etabli.models import adapters
from etabli.models.adapters import AdapterConfig
from etabli.runs.events import Event
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run

_LORA_KEYS = {"r": "rank", "lora_alpha": "alpha", "lora_dropout": "dropout", "target_modules": "target_modules"}


class AdapterRun(Run):
    """A view of an adapter's folder with what of a ``Run`` judging and exporting need."""

    def __init__(self, folder: str | Path, base: str | None = None):
        super().__init__(folder)
        self._config: AdapterConfig = adapters.read_config(self.folder)
        self._base_named = base is not None
        model = adapters.find_base(self._config, base)
        self._adapter_recipe = Recipe.model_construct(model=model, data="")  # of its data nothing is known

    @property
    def recipe(self) -> Recipe:
        """A recipe that names the base alone; its ``data`` is empty."""
        return self._adapter_recipe

    @property
    def frozen(self) -> Fingerprint:
        """Nothing: no run of établi made it."""
        return {}

    @property
    def adapter(self) -> Path:
        """The folder itself."""
        return self.folder

    @property
    def base_named(self) -> bool:
        """Whether a person named the base."""
        return self._base_named

    @property
    def state(self) -> str:
        """Always ``completed``."""
        return "completed"

    def events(self) -> list[Event]:
        """Return no event."""
        return []

    def known_keys(self) -> dict[str, object]:
        """Return the recipe keys that the adapter's configuration tells: its model, and LoRA's settings."""
        lora = {ours: self._config.values.get(theirs) for theirs, ours in _LORA_KEYS.items()}
        return {"model": self.recipe.model, "lora": lora, "frozen": {}}

    def __repr__(self) -> str:
        return f"AdapterRun({self.name!r}: an adapter for {self.recipe.model})"


def open_adapter(folder: Run | str | Path, base: str | None = None) -> Run:
    """Return the run in a folder, or a view of the PEFT adapter in it, to be judged or exported.

    Args:
        folder: a run, its folder, or a folder with ``adapter_config.json`` and safetensors (of PEFT, TRL, Unsloth …).
        base: the adapter's base model, where the folder does not name it or names a place that is not here.

    Raises:
        BadInput: neither a run nor an adapter; ``base`` for a run, whose recipe names its model.
        WrongAdapter, Damaged, OutsideFolder: see ``models.adapters``.
    """
    if isinstance(folder, Run):
        if base is not None:
            raise BadInput(
                f"{folder.name} is opened already: name its base where you open it, open_adapter(..., base=)."
            )
        return folder
    is_run = os.path.lexists(Path(folder) / RECIPE)
    if is_run and base is not None:
        raise BadInput(f"{folder} is a run, and its recipe names its model: leave --base out.")
    if is_run or not os.path.lexists(Path(folder) / adapters.CONFIG):
        if not is_run and Path(folder).is_dir():
            raise BadInput(f"{folder} holds no run and no adapter: it has neither {RECIPE} nor {adapters.CONFIG}.")
        return Run.attach(folder)
    folders.list_files(folder)
    return AdapterRun(folder, base)

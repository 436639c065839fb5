"""``curate``: a ``Curation`` that shows itself in a notebook. The only module of this folder that imports widgets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etabli.core import folders
from etabli.curation.curation import Curation
from etabli.curation.features import ProgressCallback
from etabli.curation.map import place_rows, plot_map
from etabli.curation.recipe import CurationRecipe
from etabli.curation.table import Table
from etabli.curation.threshold import Threshold

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from etabli_widgets import DatasetTable, ThresholdPairs

Filters = Sequence[Mapping[str, object]]


@folders.add_allow_outside
def curate(
    source: str | Path | CurationRecipe,
    recipe: Filters | Mapping[str, object] | None = None,
    author: str | None = None,
    workers: int = 1,
    say: ProgressCallback | None = None,
    trust_code: bool = False,
) -> "CurationSession":
    """Start or continue choosing which rows are trained.

    >>> desk = etabli.curate("datasets/mine")          # doctest: +SKIP
    >>> desk.table()                                   # look; K keeps, F fixes, D drops, U undoes  # doctest: +SKIP
    >>> desk.save("datasets/mine-curated")             # doctest: +SKIP

    Args:
        source: a ``CurationRecipe``, its YAML file, or what ``Dataset.open`` opens.
        recipe: for a data set: its filters (a list of mappings), or the keys of a ``CurationRecipe``.
        author: who decides; by default ``ETABLI_AUTHOR`` or the user's name.
        workers: processes for the checks; say: gets a message before each long step.
        trust_code: trust the Python files that a recipe's YAML file names (``rules``, ``encoder``) from now on.
        allow_outside: a mapping file's data, and the recipe's ``decisions``, may lie outside of their file's folder.

    Raises:
        BadRecipe: all mistakes of the recipe.
        BadData: the data cannot be read, or has no row to train on.
        UntrustedCode: the user does not trust the Python files that the YAML file names.
    """
    if isinstance(source, CurationRecipe):
        return CurationSession(source, author, workers, say, trust_code=trust_code)
    if Path(source).suffix in (".yaml", ".yml"):
        return CurationSession(CurationRecipe.load(source), author, workers, say, Path(source), trust_code)
    keys = dict(recipe or {}) if recipe is None or isinstance(recipe, Mapping) else {"filters": recipe}
    return CurationSession(CurationRecipe(data=str(source), **keys), author, workers, say)


class CurationSession(Curation):
    """A ``Curation`` with a table, a threshold slider and a map for a notebook."""

    def table(self) -> "DatasetTable":
        """Return a widget with all rows, their findings, similar rows and decisions, and a map of them."""
        from etabli_widgets import DatasetTable

        table = Table(self)
        return DatasetTable(table, self.decisions.author, lambda colour: place_rows(self, colour, table=table))

    def threshold(self, filter: str = "near") -> "ThresholdPairs":
        """Return a widget to choose a similarity threshold by reading the pairs close to it."""
        from etabli_widgets import ThresholdPairs

        return ThresholdPairs(Threshold(self, filter))

    def map(self, colour: str = "finding", most: int = 5000) -> "Figure":
        """Return a plotly map of the rows' embeddings (PCA); colour: finding, source, lang, status or cluster."""
        return plot_map(self, colour, most)

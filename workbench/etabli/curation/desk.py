"""``curate``: rows in a table, pairs at a threshold and a map, in front of a ``Curation``. The room's only widgets."""

from pathlib import Path
from typing import Any

from etabli.core import folders
from etabli.curation.curation import Curation
from etabli.curation.features import Say
from etabli.curation.map import figure
from etabli.curation.recipe import CurationRecipe
from etabli.curation.table import Table
from etabli.curation.threshold import Threshold


@folders.takes_allow_outside
def curate(
    source: Any,
    recipe: Any = None,
    author: str | None = None,
    workers: int = 1,
    say: Say | None = None,
    trust_code: bool = False,
):
    """Begin, or go on, to choose which rows are trained.

    >>> desk = etabli.curate("datasets/mine")          # doctest: +SKIP
    >>> desk.table()                                   # look; K keeps, F fixes, D drops, U undoes  # doctest: +SKIP
    >>> desk.save("datasets/mine-curated")             # doctest: +SKIP

    Args:
        source: a ``CurationRecipe``, the YAML file of one, or what ``Dataset.open`` opens.
        recipe: filters (a list of mappings) for a data set that is named.
        author: who decides; by default ``ETABLI_AUTHOR`` or the user's name.
        workers: processes for the checks; say: told what takes long.
        trust_code: say yes to the Python files that a recipe's YAML file names (``rules``, ``encoder``); it is kept.
        allow_outside: a mapping file's data, and the recipe's ``decisions``, may lie outside of their file's folder.

    Raises:
        BadRecipe: every mistake of the recipe; BadData: nothing to read, or no row to train on; UntrustedCode: the
        YAML file names Python files that this user has not said yes to.
    """
    if isinstance(source, CurationRecipe):
        return Desk(source, author, workers, say, trust_code=trust_code)
    if Path(source).suffix in (".yaml", ".yml"):
        return Desk(CurationRecipe.load(source), author, workers, say, Path(source), trust_code)
    given = {"filters": recipe} if isinstance(recipe, list | tuple) else dict(recipe or {})
    return Desk(CurationRecipe(data=str(source), **given), author, workers, say)


class Desk(Curation):
    """A ``Curation`` that can be looked at."""

    def table(self):
        """The rows with their findings, neighbours and decisions: a widget for any number of rows."""
        from etabli_widgets import DatasetTable

        return DatasetTable(Table(self), self.decisions.author)

    def threshold(self, filter: str = "near"):
        """Choose a threshold by looking at the pairs at the border: a widget."""
        from etabli_widgets import ThresholdPairs

        return ThresholdPairs(Threshold(self, filter))

    def map(self, colour: str = "finding", most: int = 5000):
        """A map of the rows (PCA of their embeddings), coloured by finding, source, lang, status or cluster: plotly."""
        return figure(self, colour, most)

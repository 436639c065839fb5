"""Draw the rows as points: their embeddings on a plane (PCA), coloured by finding, source or cluster, in plotly."""

from collections import Counter
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from etabli.core.errors import BadInput
from etabli.core.pages import figures, render
from etabli.core.progress import show_progress
from etabli.core.wording import count_of
from etabli.curation.curation import Curation
from etabli.curation.embedding import Vectors
from etabli.curation.pairs import Indices
from etabli.curation.table import Table
from etabli.data.columns import column_values

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MAX_COLOURS = 12
MAX_CLUSTERS = 8
# Colours of Okabe and Ito, which most people can tell apart, and greys for the rest.
PALETTE = (
    *("#3C8BD9", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"),
    *("#B8A800", "#7F7F7F", "#4B0082", "#A0522D", "#2F4F4F", "#C0C0C0"),
)


class RowMap(TypedDict):
    """Rows as points, as the table's widget draws them."""

    rows: list[int]  # index of each point's row
    x: list[float]  # 0 to 1
    y: list[float]
    labels: list[int]  # of each point, an index into ``names``
    names: list[str]  # the commonest first
    colours: list[str]  # of each name
    title: str
    colour: str  # what the labels are: finding, status ...


@show_progress("drawing the map")
def place_rows(curation: Curation, colour: str = "finding", most: int = 5000, table: Table | None = None) -> RowMap:
    """Return the rows as points of a plane; as ``plot_map``, whose arguments these are.

    Args:
        table: the table of the curation, if there is one: it is not made again.
    """
    sample, points, labels, title = _compute_map(curation, colour, most, table)
    names = [name for name, _ in Counter(labels).most_common()]
    low, high = points.min(axis=0), points.max(axis=0)
    x, y = ((points - low) / np.maximum(high - low, 1e-9)).round(4).T.tolist()
    return {
        "rows": sample.tolist(),
        "x": x,
        "y": y,
        "labels": [names.index(label) for label in labels],
        "names": names,
        "colours": [*PALETTE[: len(names)]],
        "title": title,
        "colour": colour,
    }


@show_progress("drawing the map")
def plot_map(curation: Curation, colour: str = "finding", most: int = 5000) -> "Figure":
    """Return the map as a plotly figure.

    Args:
        colour: ``finding``, ``status``, ``cluster``, ``source``, ``lang``, or a column of the data.
        most: draw at most this many rows: a sample, seeded by the recipe; the title says so.

    Raises:
        BadInput: ``most`` is less than 2.
    """
    import plotly.graph_objects as go

    sample, points, labels, title = _compute_map(curation, colour, most)
    figure = go.Figure()
    for (label, _), shade in zip(Counter(labels).most_common(), PALETTE):
        places = [place for place, row_label in enumerate(labels) if row_label == label]
        figure.add_scattergl(
            x=points[places, 0],
            y=points[places, 1],
            mode="markers",
            name=f"{figures.text(label)} ({len(places)})",
            text=[_hover_text(curation, int(sample[place])) for place in places],
            hoverinfo="text",
            marker={"size": 6, "color": shade, "opacity": 0.75},
        )
    bare_axis = {"showgrid": False, "zeroline": False, "showticklabels": False}
    figure.update_layout(
        title={"text": figures.text(title), "font": {"size": 14}},
        height=520,
        xaxis=bare_axis,
        yaxis=bare_axis,
        margin={"l": 10, "r": 10, "t": 50, "b": 10},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(127,127,127,0.08)",
        font={"color": "#808890"},
        legend={"itemsizing": "constant"},
    )
    return figure


def _compute_map(
    curation: Curation, colour: str, most: int, table: Table | None = None
) -> tuple[Indices, Vectors, list[str], str]:
    """Return the rows of a map by index, their points (rows, 2), the label of each, and the map's title."""
    features = curation.features
    sample = _sample_rows(len(features), most, curation.recipe.seed)
    points, explained_share = project_to_plane(features.vectors_of(sample))
    labels = _merge_rare(_row_labels(curation, sample, colour, table))
    return sample, points, labels, _title(len(sample), len(features), colour, explained_share)


def _title(point_count: int, row_count: int, colour: str, explained_share: float) -> str:
    rows_text = (f"{point_count:,} of " if point_count < row_count else "") + count_of(row_count, "row")
    return f"{rows_text} by {colour}; two axes of many: {explained_share:.0%} of the variance (PCA)"


def _sample_rows(row_count: int, most: int, seed: int) -> Indices:
    if most < 2:
        raise BadInput(f"A map of {count_of(most, 'row')} shows nothing: ask for at least 2.")
    return np.sort(np.random.default_rng(seed).choice(row_count, min(row_count, most), replace=False))


def project_to_plane(vectors: Vectors) -> tuple[Vectors, float]:
    """Return the first two principal components, float (rows, 2), and the share of variance that they explain."""
    from sklearn.decomposition import PCA

    axes = min(2, *vectors.shape)
    pca = PCA(axes, random_state=0, svd_solver="full" if len(vectors) < 500 else "randomized")
    points = pca.fit_transform(vectors)
    explained_share = float(np.nan_to_num(pca.explained_variance_ratio_).sum())
    return np.pad(points, ((0, 0), (0, 2 - axes))), explained_share


def _row_labels(curation: Curation, sample: Indices, colour: str, table: Table | None = None) -> list[str]:
    if colour == "cluster":
        return _cluster_names(curation, sample)
    if colour in ("finding", "status"):
        table = table or Table(curation)
        lines = [table.line(int(index)) for index in sample]
        return [(line["found"] or ["nothing found"])[0] if colour == "finding" else line["status"] for line in lines]
    values = column_values([curation.features.rows[index] for index in sample], colour)
    return [f"no {colour}" if value is None else value for value in values]


def _merge_rare(labels: list[str]) -> list[str]:
    """Replace all but the most common labels by ``others``: more colours cannot be told apart."""
    ranking = Counter(labels).most_common()
    common = {label for label, _ in ranking[: MAX_COLOURS - (len(ranking) > MAX_COLOURS)]}
    return [label if label in common else "others" for label in labels]


def _cluster_names(curation: Curation, sample: Indices) -> list[str]:
    """Cluster the embeddings (k-means); each cluster is named by the three words most typical of its questions."""
    from sklearn.cluster import KMeans
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors, questions = curation.features.vectors_of(sample), curation.features.questions
    labels = KMeans(min(MAX_CLUSTERS, len(sample)), n_init=4, random_state=curation.recipe.seed).fit_predict(vectors)
    texts = [" ".join(questions[index] for index in sample[labels == label]) for label in range(labels.max() + 1)]
    try:
        vectorizer = TfidfVectorizer(sublinear_tf=True, max_features=5000, max_df=0.6 if len(texts) > 2 else 1.0)
        weights = vectorizer.fit_transform(text or "empty" for text in texts).toarray()
    except ValueError:  # the texts have no words
        return [f"cluster {label}" for label in labels]
    words = vectorizer.get_feature_names_out()
    names = [", ".join(words[line.argsort()[::-1][:3]]) for line in weights]
    return [names[label] for label in labels]


def _hover_text(curation: Curation, index: int) -> str:
    features = curation.features
    question, answer = features.questions[index][:120], features.answers[index][:120]
    return render("hover.html.j2", asked=question, answer=answer, row=features.rows[index]["id"])

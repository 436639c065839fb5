"""Rows as points: embeddings put on a plane by PCA, coloured by what is known of them. A plain plotly figure."""

from collections import Counter
from typing import Any

import numpy as np

from etabli.core.errors import BadInput
from etabli.core.pages import figures, render
from etabli.curation.curation import Curation
from etabli.data.columns import values_of

COLOURS = ("finding", "status", "cluster", "source", "lang")
MOST_COLOURS = 12
CLUSTERS = 8
# Okabe and Ito's colours, told apart by most eyes, and greys for the rest.
PALETTE = ("#3C8BD9", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A800", "#7F7F7F",
           "#4B0082", "#A0522D", "#2F4F4F", "#C0C0C0")  # fmt: skip


def figure(desk: Curation, colour: str = "finding", most: int = 5000) -> Any:
    """The map. ``colour``: finding, status, cluster, source or lang, or a column of the data.

    Of more than ``most`` rows a sample is drawn (seeded by the recipe), and the title says so.
    """
    import plotly.graph_objects as go

    view = desk.view
    chosen = _sample(len(view), most, desk.recipe.seed)
    points, share = plane(view.vectors[chosen])
    names = _few(_names(desk, chosen, colour))
    made = go.Figure()
    for name, shade in zip([name for name, _ in Counter(names).most_common()], PALETTE):
        at = [place for place, held in enumerate(names) if held == name]
        texts = [_hover(desk, chosen[place]) for place in at]
        marker = {"size": 6, "color": shade, "opacity": 0.75}
        made.add_scattergl(
            x=points[at, 0], y=points[at, 1], mode="markers", name=f"{figures.text(name)} ({len(at)})", text=texts,
            hoverinfo="text", marker=marker,
        )  # fmt: skip
    said = f"{len(chosen)} of {len(view)} rows" if len(chosen) < len(view) else f"{len(view)} rows"
    title = f"{said} by {figures.text(colour)}; the plane shows {share:.0%} of how they differ"
    grey = {"showgrid": False, "zeroline": False, "showticklabels": False}
    made.update_layout(
        title={"text": title, "font": {"size": 14}}, height=520, xaxis=grey, yaxis=grey,
        margin={"l": 10, "r": 10, "t": 50, "b": 10},
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(127,127,127,0.08)", font={"color": "#808890"},
        legend={"itemsizing": "constant"},
    )  # fmt: skip
    return made


def _sample(rows: int, most: int, seed: int) -> np.ndarray:
    if most < 2:
        raise BadInput(f"A map of {most} rows shows nothing: ask for at least 2.")
    return np.sort(np.random.default_rng(seed).choice(rows, min(rows, most), replace=False))


def plane(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """Vectors on the two axes along which they differ most: float (rows, 2), and the share of variance that is."""
    from sklearn.decomposition import PCA

    axes = min(2, *vectors.shape)
    fitted = PCA(axes, random_state=0, svd_solver="full" if len(vectors) < 500 else "randomized")
    points = fitted.fit_transform(vectors)
    spread = float(np.nan_to_num(fitted.explained_variance_ratio_).sum())
    return np.pad(points, ((0, 0), (0, 2 - axes))), spread


def _names(desk: Curation, chosen: np.ndarray, colour: str) -> list[str]:
    if colour == "cluster":
        return _clusters(desk, chosen)
    if colour in ("finding", "status"):
        from etabli.curation.table import Table

        table = Table(desk)
        lines = [table.line(int(at)) for at in chosen]
        return [(line["found"] or ["nothing found"])[0] if colour == "finding" else line["status"] for line in lines]
    held = values_of([desk.view.rows[at] for at in chosen], colour)
    return [str(value) for value in held]


def _few(names: list[str]) -> list[str]:
    """Names, of which all but the commonest become ``others``: more colours can't be told apart."""
    common = Counter(names).most_common()
    kept = {name for name, _ in common[: MOST_COLOURS - (len(common) > MOST_COLOURS)]}
    return [name if name in kept else "others" for name in names]


def _clusters(desk: Curation, chosen: np.ndarray) -> list[str]:
    """k-means on the embeddings, each cluster named by the words that are commoner in it than elsewhere."""
    from sklearn.cluster import KMeans
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = desk.view.vectors[chosen]
    labels = KMeans(min(CLUSTERS, len(chosen)), n_init=4, random_state=desk.recipe.seed).fit_predict(vectors)
    texts = [" ".join(desk.view.asked[at] for at in chosen[labels == label]) for label in range(labels.max() + 1)]
    try:
        counted = TfidfVectorizer(sublinear_tf=True, max_features=5000, max_df=0.6 if len(texts) > 2 else 1.0)
        weights = counted.fit_transform(text or "empty" for text in texts).toarray()
    except ValueError:  # no words at all
        return [f"cluster {label}" for label in labels]
    words = counted.get_feature_names_out()
    top = [", ".join(words[line.argsort()[::-1][:3]]) for line in weights]
    return [top[label] for label in labels]


def _hover(desk: Curation, at: int) -> str:
    asked, answer = desk.view.asked[at][:120], desk.view.answers[at][:120]
    return render("hover.html.j2", asked=asked, answer=answer, row=desk.view.rows[at]["id"])

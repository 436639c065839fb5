"""What a reader of the verdict has to be told first."""

from collections.abc import Sequence

from etabli.core.contracts import ALL, UNSEEN, Answered, Metric
from etabli.evaluation import intervals
from etabli.evaluation.aggregate import slice_names, rows_in_slice
from etabli.evaluation.systems import System, context_length
from etabli.evaluation.test_set import TestSet
from etabli.models.loading import Loaded

FEW = 8  # clusters in effect, below which benchmarks/coverage.py has nothing to say for an interval


def list_caveats(asked: TestSet, arms: list[System], rows: list[Answered], metrics: list[Metric], loaded: Loaded) -> list[str]:
    """Sentences, the gravest first: overlap, what was left out, few clusters, empty and cut answers, failed scores."""
    return [
        *overlap_caveats(rows), *asked.said, *cluster_caveats(rows, str(asked.about["clustered_by"])),
        *_answers(asked, arms, loaded), *score_error_caveats(rows, metrics),
    ]  # fmt: skip


def overlap_caveats(rows: Sequence[Answered]) -> list[str]:
    """How many test rows the training rows hold."""
    found = [row["overlap"] for row in rows]
    whole, asked, total = found.count("row"), found.count("question"), len(rows)
    if not whole + asked:
        return []
    kinds = [f"{whole} of {total} test rows stand in the training rows, question and answer"] * bool(whole)
    kinds += [f"{asked} of {total} test questions were trained with another answer"] * bool(asked)
    left = total - whole - asked
    tell = f"The slice {UNSEEN!r} is without them" if left else "None is left without them: these scores say nothing"
    return [f"OVERLAP: {'; '.join(kinds)}. {tell}."]


def cluster_caveats(rows: Sequence[Answered], by: str) -> list[str]:
    """Slices of so few clusters that their intervals can't be relied on."""
    few = []
    for part in slice_names(rows):
        clusters = [row["cluster"] for row in rows_in_slice(rows, part)]
        if clusters and intervals.effective_clusters(clusters) < FEW:
            few.append(
                f"{'the whole' if part == ALL else part} ({len(set(clusters))} clusters in {len(clusters)} rows)"
            )
    said = f"Too few clusters ({by}) for an interval to be relied on: {', '.join(few)}."
    return [said] if few else []


def _answers(asked: TestSet, arms: list[System], loaded: Loaded) -> list[str]:
    said, total, most = [], len(asked.tests), context_length(loaded)
    for arm in arms:
        empty = sum(not text.strip() for text in arm.answers)
        said += [f"{arm.name} answered nothing on {empty} of {total} rows."] * (empty > 0)
        said += [f"{arm.name}: {arm.cut} of {total} answers were cut at the greatest length."] * (arm.cut > 0)
        beyond = sum(size > most for size in arm.sizes)
        said += [f"{arm.name}: {beyond} prompts are longer than the model's context of {most}."] * (beyond > 0)
    return said


def score_error_caveats(rows: Sequence[Answered], metrics: list[Metric]) -> list[str]:
    """Scores that raised: for whom, on how many rows, and what the first of them said."""
    said = []
    for metric in metrics:
        name = metric["name"]
        found = [(row["id"], row["errors"][name]) for row in rows if name in row["errors"]]
        if found:
            counts = {arm: sum(arm in raised for _, raised in found) for _, raised in found for arm in raised}
            told = ", ".join(f"{arm} {count}" for arm, count in counts.items())
            first, why = found[0][0], next(iter(found[0][1].values()))
            said.append(f"{name} failed on {len(found)} of {len(rows)} rows ({told}), first on {first}: {why}")
    return said

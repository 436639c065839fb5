"""What a reader of the verdict has to be told first."""

from etabli.contracts import UNSEEN, Answered, Metric
from etabli.evaluation.arms import Arm, context
from etabli.evaluation.sets import TestSet
from etabli.models.loading import Loaded
from etabli.tokens import render

FEW = 10  # clusters below which an interval is a guess


def notices(asked: TestSet, arms: list[Arm], rows: list[Answered], metrics: list[Metric], loaded: Loaded) -> list[str]:
    """Sentences, the gravest first: overlap, few clusters, empty and cut answers, scores that failed."""
    return [*_overlap(asked), *_clusters(asked), *_answers(asked, arms, loaded), *failed(rows, metrics)]


def _overlap(asked: TestSet) -> list[str]:
    rows, questions = asked.overlaps.count("row"), asked.overlaps.count("question")
    if not rows + questions:
        return []
    total = len(asked.tests)
    kinds = [f"{rows} of {total} test rows stand in the training rows, question and answer"] * bool(rows)
    kinds += [f"{questions} of {total} test questions were trained with another answer"] * bool(questions)
    left = total - rows - questions
    tell = f"The slice {UNSEEN!r} is without them" if left else "None is left without them: these scores say nothing"
    return [f"OVERLAP: {'; '.join(kinds)}. {tell}."]


def _clusters(asked: TestSet) -> list[str]:
    groups = len(set(asked.clusters))
    if groups >= FEW:
        return []
    return [f"The {len(asked.tests)} test rows are {groups} cluster{'s' * (groups > 1)} ({asked.clustered_by}): "
            "too few for an interval to be relied on."]  # fmt: skip


def _answers(asked: TestSet, arms: list[Arm], loaded: Loaded) -> list[str]:
    said, total = [], len(asked.tests)
    for arm in arms:
        empty = sum(not text.strip() for text in arm.answers)
        said += [f"{arm.name} answered nothing on {empty} of {total} rows."] * bool(empty)
        said += [f"{arm.name}: {arm.cut} of {total} answers were cut at the greatest length."] * (arm.cut * 10 > total)
        beyond = sum(len(render(talk, loaded.tokenizer, prompt=True)) > context(loaded) for talk in arm.talks or [])
        said += [f"{arm.name}: {beyond} prompts are longer than the model's context of {context(loaded)}."] * (
            beyond > 0
        )
    return said


def failed(rows: list[Answered], metrics: list[Metric]) -> list[str]:
    """Scores that raised, on how many rows, and what the first of them said."""
    said = []
    for metric in metrics:
        found = [(row["id"], row["errors"][metric["name"]]) for row in rows if metric["name"] in row["errors"]]
        if found:
            first, raised = found[0]
            why = next(iter(raised.values()))
            said.append(f"{metric['name']} failed on {len(found)} of {len(rows)} rows, first on {first}: {why}")
    return said

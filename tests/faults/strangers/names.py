"""Hostile names: of the run's folder, of files in it, and as arguments of every command."""

from collections.abc import Iterator
from pathlib import Path

from strangers import home
from strangers.commands import VOTES
from strangers.payloads import KINDS, Canary, name_of, text_of
from strangers.watch import Job, Step

_ON_RUN = (
    "runs {runs}",
    "runs {runs} --json",
    "film {run}",
    "chat {run}",
    "evaluate {run} --from-log --html {out}/v.html",
    "overlay {run} {runs}/../run2 --out {out}/overlay.html",
    "export {run} --out {out}/export",
    "arena {run}",
    "token-diff {run}",
    "resume {run}",
    "stop {run}",
    "votes pool {votes}",
    "data check {rows} --workers 1",
    "data check {rows} --workers 1 --json",
    "data tokens {rows} --model {model}",
    "arena {answers}",
)
_HEADS = (
    "train",
    "evaluate",
    "resume",
    "stop",
    "film",
    "chat",
    "arena",
    "token-diff",
    "export --out x",
    "data check",
    "data tokens",
    "data rows",
    "data prepare --out x",
    "votes pool",
    "overlay",
    "memory --seq 8",
    "runs",
    "",
    "evaluate {run} --from-log --score",
    "evaluate {run} --only",
    "data check {rows} --format",
    "data tokens {rows} --policy",
    "data rows {curation} --status",
    "data rows {curation} --sort",
    "data check {rows} --code",
    "film {run} --author x --why",
)


def jobs(stranger: Path, cache: Path, place: Path, stride: int) -> Iterator[Job]:
    """One job a kind."""
    for number in range(0, len(KINDS), stride):
        folder = home.job_folder(stranger, cache, place / f"name-{number}")
        canary = Canary(number, folder / "marks")
        steps = _named(folder, name_of(KINDS[number], canary)) + _asked(folder, text_of(KINDS[number], canary))
        yield Job(f"{KINDS[number]} as a name", str(folder), steps, deadline=300, pages=True)


def _named(folder: Path, name: str) -> list[Step]:
    base = folder / "home"
    runs = base / "runs"
    runs.mkdir()
    (base / "run").rename(runs / name)
    (runs / name / "adapter" / name).write_text("x")
    votes = runs / name / "votes" / f"{name}.jsonl"
    (runs / name / "votes" / "ann.jsonl").rename(votes)
    for file in ("rows.jsonl", "answers.jsonl"):
        (base / file).rename(base / f"{name}.{file}")
    filled = {
        "runs": runs,
        "run": runs / name,
        "out": folder / "out",
        "votes": votes,
        "rows": base / f"{name}.rows.jsonl",
        "answers": base / f"{name}.answers.jsonl",
        "model": base / "model",
    }
    return [
        Step(words.split(" {")[0], [word.format(**filled) for word in words.split()], stdin=VOTES) for words in _ON_RUN
    ]


def _asked(folder: Path, text: str) -> list[Step]:
    base = folder / "home"
    if str(base) in text or "outside" in text or text.startswith("evil.py"):  # a file that she names herself is read
        return []
    filled = {"run": base / "run2", "rows": base / "data", "curation": base / "curation.yaml"}
    return [
        Step(f"{head} ARGUMENT", [*(word.format(**filled) for word in head.split()), text], stdin=VOTES)
        for head in _HEADS
    ]

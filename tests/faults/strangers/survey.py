"""Which texts of a home can say anything, and which decide whether a file is read at all."""

from pathlib import Path

from strangers import commands, home, jobs, texts
from strangers.watch import Job, Step

Spot = tuple[str, texts.Group]  # a file, and the places in it that change together
CHUNK = 100


def spots(stranger: Path) -> list[Spot]:
    """Every text, key and number of every file that a command reads."""
    return [(name, group) for name in commands.files() for group in texts.spots(texts.read(stranger / name))]


def survey(stranger: Path, cache: Path, place: Path) -> tuple[list[Spot], list[Spot]]:
    """Spots that are free (a command ends as before whatever stands there), and spots that are not."""
    listed, codes = spots(stranger), {}
    chunks = [listed[start : start + CHUNK] for start in range(0, len(listed), CHUNK)]
    planned = [_job(chunk, number, stranger, cache, place / f"survey-{number}") for number, chunk in enumerate(chunks)]
    for job, _, shown in jobs.run(planned):
        for attack, step, code, *_ in shown:
            codes[job.name, attack, step] = code
    return _sorted(listed, codes)


def _job(chunk: list[Spot], number: int, stranger: Path, cache: Path, folder: Path) -> Job:
    home.job_folder(stranger, cache, folder)
    steps: dict[str, Step] = {
        name: commands.step(name, folder) for file in {file for file, _ in chunk} for name in commands.readers(file)
    }
    plants = [{"attack": "valid"}] + [
        {"attack": str(order), "file": file, "group": group, "number": 0, "steps": commands.readers(file)}
        for order, (file, group) in enumerate(chunk)
    ]
    return Job(str(number), str(folder), list(steps.values()), plants, deadline=900)


def _sorted(listed: list[Spot], codes: dict[tuple[str, str, str], int]) -> tuple[list[Spot], list[Spot]]:
    free, fixed = [], []
    for order, spot in enumerate(listed):
        job, attack = str(order // CHUNK), str(order % CHUNK)
        same = all(
            codes.get((job, attack, step)) == codes.get((job, "valid", step)) for step in commands.readers(spot[0])
        )
        (free if same else fixed).append(spot)
    return free, fixed

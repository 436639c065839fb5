"""The table of attacks: what a stranger puts into a folder is shown, never obeyed; and a secret never leaves.

Texts (every kind in every text, key and number of every file that a command reads), names, arguments, folders and
secrets, against every command, page and widget. ``strangers/`` holds the parts. With ETABLI_FAULTS everything is tried
(``make faults``), else a part of the texts; what got through is in ``benchmarks/results/attacks.json``.
"""

import importlib
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from strangers import commands, home, jobs, names, pages, payloads, rounds, secrets, sinks, survey
from strangers.folders import HOSTILE, Hostile
from strangers.table import FULL, STRIDE, tally
from strangers.watch import Hole, Job

FOLDER_MODULES = ("links", "code", "size", "archives", "templates")
for name in FOLDER_MODULES:  # each registers its folders
    importlib.import_module(f"strangers.folders_{name}")

pytestmark = pytest.mark.nightly  # and in make faults

KINDS, FOLDERS, SHAPES = 60, 30, 24  # at least


@pytest.fixture(scope="session")
def valid(tiny, commands, embedded, tmp_path_factory) -> tuple[Path, Path, dict[str, str]]:
    """A valid home, a cache of models for whoever reads it, and what the home's files hold."""
    place = tmp_path_factory.mktemp("stranger")
    cache = home.model_cache(embedded.folder, place / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETABLI_CACHE", str(cache))
        patch.setenv("OMP_NUM_THREADS", "1")
        home.make(place / "home", tiny, commands.rows)
    return place / "home", cache, home.prints(place / "home")


@pytest.fixture(scope="session")
def stranger(valid) -> tuple[Path, Path]:
    """The home and the cache."""
    return valid[:2]


@pytest.fixture(scope="session")
def spots(stranger, tmp_path_factory) -> tuple[list[survey.Spot], list[survey.Spot]]:
    """Texts that can say anything, and texts that decide whether a file is read."""
    return survey.survey(*stranger, tmp_path_factory.mktemp("survey"))


@pytest.fixture
def look(request):
    """Opens what was written below a folder in Chromium; returns what got through."""
    if pages.chromium() is None:
        return lambda surface, place, attack, allowed=(): []
    browser = request.getfixturevalue("chromium")

    def look(surface: str, place: Path, attack: Any, allowed: tuple[str, ...] = ()) -> list[Hole]:
        holes: list[Hole] = []
        watcher = pages.Watcher(browser)
        count = pages.inert(
            watcher, place, lambda kind, of, page, detail: holes.append(Hole(kind, attack(of, detail), page, detail))
        )
        holes = [hole for hole in holes if hole.kind not in allowed]
        tally.add(f"{surface}, in Chromium", "page", count)
        tally.through(f"{surface}, in Chromium", holes)
        return holes

    return look


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=pages.chromium(), args=pages.QUIET)
        yield started
        started.close()


def done(surface: str, planned: Iterable[Job], keep: bool = False, count: bool = True) -> Iterator[tuple[Job, list]]:
    """Run jobs and count their steps and holes."""
    for job, holes, shown in jobs.run(planned):
        tally.through(surface, holes)
        for attack, *_ in shown if count else ():
            tally.add(surface, attack)
        yield job, shown
        if not keep:
            shutil.rmtree(job.folder, ignore_errors=True)


def none_through(*surfaces: str) -> None:
    worst = [line for surface in surfaces for line in tally.worst(surface)]
    assert not worst, f"{len(worst)} got through:\n" + "\n".join(worst[:40])


def test_there_are_enough_attacks():
    assert len(payloads.KINDS) + len(payloads.TYPED) >= KINDS
    assert len(HOSTILE) >= FOLDERS and len({spoiled.name for spoiled in HOSTILE}) == len(HOSTILE)
    assert len(secrets.planted()) >= SHAPES


def test_the_harness_sees_what_is_obeyed(stranger, tmp_path, look):
    """Each kind of hole is made on purpose, and found."""
    folder = home.job_folder(*stranger, tmp_path / "job")
    steps = [commands.Step(name, call=name) for name in ("obedient", "nothing")]
    kinds = {hole.kind for _, holes, _ in jobs.run([Job("obedient", str(folder), steps, pages=True)]) for hole in holes}
    assert kinds == {"executed", "fetched", "leaked", "left", "obeyed", "crashed"}
    if pages.chromium():
        seen = {hole.kind for hole in look("made on purpose", folder / "pages", lambda of, detail: of)}
        assert seen == {"executed", "fetched", "markup"}
    slow = Job(
        "slow", str(home.job_folder(*stranger, tmp_path / "slow")), [commands.Step("wait", call="wait")], deadline=3
    )
    assert [hole.kind for _, holes, _ in jobs.run([slow]) for hole in holes] == ["hung"]
    tally.forget("made on purpose, in Chromium")


def test_every_command_reads_the_valid_home(stranger, tmp_path):
    """Else nothing of what follows would be read at all."""
    folder = home.job_folder(*stranger, tmp_path / "job")
    steps = [commands.step(name, folder) for name in [*commands.CHEAP, *commands.CALLS]]
    for _, holes, shown in jobs.run([Job("valid", str(folder), steps)]):
        assert not holes and [line for line in shown if line[2] not in (0, 1)] == []


def test_texts_that_can_say_anything(stranger, spots, tmp_path, look):
    free, _ = spots
    stride = 1 if FULL else 8
    planned = list(rounds.free(free, *stranger, tmp_path, stride))
    for _ in done("texts", planned, keep=True, count=False):
        pass
    for kind, count in rounds.tried(free, stride):
        tally.add("texts", kind, count)
    for job in planned:
        look("texts", Path(job.folder) / "pages", lambda of, detail: rounds.meaning_of(of, detail, free))
    none_through("texts", "texts, in Chromium")


def test_texts_that_break_a_file(stranger, spots, tmp_path):
    surface = "texts that break a file"
    for _, shown in done(surface, rounds.fixed(spots[1], *stranger, tmp_path, STRIDE), count=False):
        for attack, *_ in shown:
            tally.add(surface, attack.split(" in ")[0])
    none_through("texts that break a file")


def test_names_and_arguments(stranger, tmp_path, look):
    planned = list(names.jobs(*stranger, tmp_path, 1 if FULL else 4))
    for _ in done("names and arguments", planned, keep=True):
        pass
    look("names", tmp_path, lambda of, detail: of)
    none_through("names and arguments", "names, in Chromium")


def test_hostile_folders(stranger, tmp_path):
    by_name = {spoiled.name: spoiled for spoiled in HOSTILE}
    for job, shown in done("folders", _spoiled(*stranger, tmp_path)):
        accepted = [line for line in shown if line[2] == 0 and by_name[job.name].refused]
        tally.through("folders", [Hole("accepted", job.name, step, "ends with 0") for _, step, *_ in accepted])
    none_through("folders")


def _spoiled(stranger: Path, cache: Path, place: Path) -> Iterator[Job]:
    """A job for every hostile folder and each command that meets it: one that hangs must not hide another."""
    pairs = [
        (spoiled, step)
        for spoiled in HOSTILE
        for step in (spoiled.steps if FULL else spoiled.steps[: 1 + spoiled.refused])
    ]
    for number, (spoiled, step) in enumerate(pairs):
        yield _job(spoiled, step, home.job_folder(stranger, cache, place / f"folder-{number}"))


def _job(spoiled: Hostile, step: str, folder: Path) -> Job:
    spoiled.spoil(folder)
    home.settled(folder)
    return Job(spoiled.name, str(folder), [commands.step(step, folder)])


def test_secrets(stranger, tmp_path, look):
    planned = list(secrets.jobs(*stranger, tmp_path))
    for job, shown in done("secrets", planned):
        refused = [
            line for line in shown if line[2] == 2 and job.name in ("a score that raises", "a check that raises")
        ]
        assert not refused, "what was to raise was not even called"
    for name in secrets.planted():
        tally.add("secrets", f"shape {name}", 0)
    none_through("secrets")


def test_a_strangers_notebook_as_a_page(tmp_path, look):
    """Its outputs and its prose, made a page by our own exporter."""
    (tmp_path / "pages" / "notebook").mkdir(parents=True)
    sinks.notebook_of(tmp_path / "pages" / "notebook" / "notebook.html", payloads.Canary(1, tmp_path / "marks"))
    look("a stranger's notebook", tmp_path / "pages", lambda of, detail: detail, allowed=("markup",))  # it may format
    none_through("a stranger's notebook, in Chromium")


def test_the_valid_home_is_as_it_was(valid):
    """No attack has reached what the others began with."""
    assert home.prints(valid[0]) == valid[2]


def test_what_was_tried_is_written_down(tmp_path):
    tally.save(tmp_path / "attacks.json")
    written = json.loads((tmp_path / "attacks.json").read_text())
    assert set(written) == {"everything", "stride", "surfaces", "tried", "holes", "seconds", "cores"}

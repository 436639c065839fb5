"""No checkpoint is ever lost, whatever ends a save: SIGKILL, a full disk, a loss of power, damage, a second process.

Here every point of one save is tried; ``make faults`` adds the long part and writes ``benchmarks/results/faults.json``.
"""

import errno
import itertools
import json
import os
import select
import shutil

import points
import pytest

from etabli.core import locks, storage
from etabli.core.errors import RunLocked
from etabli.runs import checkpoints

FIRST, OLD, NEW = "step-000001", "step-000002", "step-000003"


@pytest.fixture(scope="session")
def made(tiny, tmp_path_factory):
    """A training with two checkpoints' worth of state, and what each step's weights are."""
    from trainings import training

    home = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:  # ended before the test: it would hold for all that come after
        from etabli.core import processes

        patch.setattr(processes, "_owner_file", lambda: home / "owner.json")
        return training(tiny, _data(home), home)


def _data(home):
    from etabli.data.dataset import Dataset
    from etabli.data.samples import home_commands

    Dataset(home_commands(n=40, test=4, seed=0)).save(home / "data")
    return home / "data"


@pytest.fixture
def run(made, tmp_path):
    """A run folder with two whole checkpoints, about to write its third and to delete its first."""
    made.run = tmp_path / "run"
    made.run.mkdir()
    for made.step in (1, 2):
        made.save()
    return made.run


def fresh(run, name):
    """A copy of the run folder, for one fault."""
    copy = run.parent / name
    shutil.copytree(run, copy)
    return copy


def saving(made, run):
    def work():
        made.run, made.step = run, 3
        made.save()

    return work


def check(run, newest=(OLD, NEW)):
    """The newest whole checkpoint is one of these, and a run goes on from it to write the next."""
    said = []
    found = checkpoints.find_newest_valid(run, said.append)
    assert found is not None and found.name in newest, said
    storage.verify(found)
    assert json.loads((found / checkpoints.STATE).read_text())["step"] == int(found.name[-6:])
    return found.name


def test_killed_at_every_point_of_a_save(made, run, counted):
    """Also with what was being written only half there. What is found is whole; the save before is never lost."""
    seen = {OLD: 0, NEW: 0}
    for torn in (False, True):
        for number in itertools.count(1):
            copy = fresh(run, "copy")
            code = points.killed_at(copy, number, saving(made, copy), torn)
            assert code in (-9, points.DONE)
            name = check(copy)
            seen[name] += 1
            made.run, made.step = copy, 4
            made.save()  # whatever lies about is in nobody's way, and is gone after it
            kept = sorted(path.name for path in (copy / "checkpoints").iterdir())
            assert kept == [name, "step-000004"] and check(copy, kept) == "step-000004"
            shutil.rmtree(copy)
            counted["killed_at_a_point"] += 1
            if code == points.DONE:
                break
    assert seen[OLD] > 20 and seen[NEW] > 2


def test_a_full_disk_at_every_point_of_a_save(made, run, counted):
    for code in (errno.ENOSPC, errno.EDQUOT):
        for number in itertools.count(1):
            copy = fresh(run, "copy")
            ended = points.full_at(copy, number, saving(made, copy), code)
            name = check(copy, (OLD, NEW))
            there = {path.name for path in (copy / "checkpoints").iterdir()}
            assert name == NEW or there == {FIRST, OLD}
            shutil.rmtree(copy)
            counted["disk_full_at_a_point"] += 1
            if ended == points.DONE:
                assert name == NEW
                break


def test_a_disk_with_room_for_so_many_pages(made, run, small_disk, counted):
    """A real file system that is full after each page of a save in turn: wherever a write fails, and in whose code."""
    page, seen = 4096, {OLD: 0, NEW: 0}
    for pages in itertools.count(0):
        copy = small_disk / "copy"
        shutil.copytree(run, copy)
        held = os.statvfs(small_disk)
        (small_disk / "filler").write_bytes(bytes(max(0, held.f_bavail * held.f_frsize - pages * page)))
        code = points.in_child(saving(made, copy))
        (small_disk / "filler").unlink()
        name = check(copy)
        assert (code == points.DONE) == (name == NEW)
        seen[name] += 1
        shutil.rmtree(copy)
        counted["disk_full_after_a_page"] += 1
        if code == points.DONE:
            break
    assert seen[OLD] > 30 and seen[NEW] == 1


@pytest.mark.parametrize("names_kept", [True, False])
def test_a_loss_of_power_at_every_point_of_a_save(made, run, names_kept, tmp_path, counted):
    """What was not fsynced is gone."""
    record = points.recorded(run, saving(made, run), tmp_path / "record")
    for number in range(1, len(record.states) + 1):
        points.after_power_loss(record, number, tmp_path / "after", names_kept)
        check(tmp_path / "after", [NEW] if number == len(record.states) else [OLD, NEW])
        shutil.rmtree(tmp_path / "after")
        counted["power_lost_at_a_point"] += 1
    assert len(record.states) > 20


DAMAGE = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "one bit": lambda path: _flip(path),
}


def _flip(path):
    held = bytearray(path.read_bytes())
    held[len(held) // 2] ^= 1
    path.write_bytes(bytes(held))


def test_every_damage_to_every_file_falls_back_to_the_older_checkpoint(made, run, counted):
    saving(made, run)()
    files = sorted(path.relative_to(run / "checkpoints" / NEW) for path in (run / "checkpoints" / NEW).rglob("*"))
    assert len(files) >= 6
    for name, (kind, damage) in itertools.product(files, DAMAGE.items()):
        copy = fresh(run, "copy")
        damage(copy / "checkpoints" / NEW / name)
        said = []
        found = checkpoints.find_newest_valid(copy, said.append)
        assert found.name == OLD and len(said) == 1 and f"damaged-{NEW}" in said[0], (name, kind)
        shutil.rmtree(copy)
        counted["damaged"] += 1


def test_one_owner_of_many_that_race(tmp_path, counted):
    """Two processes at once, a hundred times: one holds the folder, the other is told so; a killed owner lets go."""
    for _ in range(100):
        (ready, go), (refused, refuse) = os.pipe(), os.pipe()

        def race(ready=ready, go=go, refused=refused, refuse=refuse):
            os.close(go)
            os.read(ready, 1)  # both wait until the pipe is closed
            try:
                with locks.lock_file(tmp_path / "lock", "Run x"):
                    (tmp_path / f"owner-{os.getpid()}").touch()
                    assert select.select([refused], [], [], 60)[0], "nobody was refused while it was held"
            except RunLocked:
                os.write(refuse, b"x")
                raise

        children = []
        for _ in range(2):
            child = os.fork()
            if child == 0:
                try:
                    race()
                    os._exit(0)
                except RunLocked:
                    os._exit(4)
                except BaseException:
                    os._exit(5)
            children.append(child)
        os.close(ready)
        os.close(go)
        codes = sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
        os.close(refused)
        os.close(refuse)
        owners = list(tmp_path.glob("owner-*"))
        assert codes == [0, 4] and len(owners) == 1
        owners[0].unlink()
        counted["races"] += 1
    assert points.killed_at(tmp_path, 2, lambda: _hold(tmp_path)) == -9
    with locks.lock_file(tmp_path / "lock", "Run x"):
        pass


def _hold(folder):
    with locks.lock_file(folder / "lock", "Run x"):
        (folder / "never").touch()

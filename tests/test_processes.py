"""A process is told from another with the same pid, also when the clock jumps."""

import subprocess
import sys

import pytest

from etabli.core import processes
from etabli.core.errors import DeviceBusy


@pytest.fixture
def child():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()
    process.stdin.close()


def test_a_clock_that_jumps_loses_no_living_process(child, monkeypatch):
    """psutil's start time is the boot's by the clock plus ticks: an hour's jump moves it by an hour."""
    import psutil

    owner = processes.identity(child.pid)
    create_time = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: create_time(process) + 3600)
    assert processes.is_alive(owner)


def test_an_older_folder_is_read_by_the_clock(child):
    owner = processes.identity(child.pid)
    owner.pop("started_since_boot", None)
    assert processes.is_alive(owner) and not processes.is_alive(owner | {"started": owner["started"] - 60})


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ticks since boot are Linux's")
def test_a_pid_that_is_used_again_is_another_process(child):
    owner = processes.identity(child.pid)
    boot, _, ticks = owner["started_since_boot"].partition(":")
    assert not processes.is_alive(owner | {"started_since_boot": f"{boot}:{int(ticks) - 1}"})
    assert not processes.is_alive(owner | {"started_since_boot": f"another-boot:{ticks}"})
    child.kill()
    child.wait()
    assert not processes.is_alive(owner)


def test_a_busy_device_names_commands_that_exist(child, tmp_path, monkeypatch):
    monkeypatch.setenv("ETABLI_CACHE", str(tmp_path))
    run = tmp_path / "runs" / "my run"
    processes.own_device(run, child.pid)
    with pytest.raises(DeviceBusy, match=rf"my run.*etabli stop '{run}'$"):
        processes.require_free_device("Merging can't begin")

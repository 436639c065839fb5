"""Fixtures: a tiny real model with the embedded model's tokenizer, and the home commands, made once.

Which test runs when is a marker: ``trains`` (set here), ``slow``, ``nightly``, and ``e2e`` (set in tests/e2e).
"""

import os
import subprocess

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # small models; each process of the tests has a core
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the tests never need the Hub; the probe itself has a test of its own

import contextlib
import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from etabli.core import storage
from etabli.core.contracts import PROCESS, RECIPE
from etabli.data.dataset import Dataset
from etabli.data.samples import home_commands
from own_cache import MODELS, cache_in
from random_adapter import adapted

# The file that names the owner of the device is this process's own, so that a run of the person, or of another process
# of the tests, changes no result.
OWN_CACHE = Path(tempfile.mkdtemp(prefix="etabli-tests-"))

EXAMPLES = {"quick": 25, "test": 60, "nightly": 1000}


def pytest_configure(config):
    MODELS.mkdir(parents=True, exist_ok=True)
    os.environ["ETABLI_CACHE"] = str(cache_in(OWN_CACHE))
    for name, examples in EXAMPLES.items():
        settings.register_profile(name, max_examples=examples, deadline=None)
    settings.load_profile(os.environ.get("ETABLI_EXAMPLES", "test"))


def pytest_sessionstart(session):
    """Of several processes one converts the embedded model, before any test asks for it; the others wait."""
    from etabli.models import embedded

    if hasattr(session.config, "workerinput") and not embedded.is_cached():
        converted()


def converted():
    """Return the embedded model, converted and quantised once a machine."""
    from filelock import FileLock

    from etabli.models import embedded, loading, sources

    with FileLock(MODELS / "tests.lock"):
        source = sources.resolve("default")
        if source.name == embedded.NAME and not list(MODELS.glob(f"{embedded.NAME}-nf4-*")):
            loading.load("default", alongside=True)
    return source


def pytest_unconfigure():
    shutil.rmtree(OWN_CACHE, ignore_errors=True)


def pytest_collection_modifyitems(config, items):
    """Mark what has a model learn or answer: all of it is the fixture ``tiny``, also within other fixtures.

    Where several processes share the files, those that take longest come first.
    """
    for item in items:
        if "tiny" in item.fixturenames:
            item.add_marker(pytest.mark.trains)
    if hasattr(config, "workerinput"):
        count = dict.fromkeys((item.path for item in items), 0)
        for item in items:
            count[item.path] += any(item.iter_markers("trains")) + 10 * any(item.iter_markers("slow"))
        items.sort(key=lambda item: -count[item.path])


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory):
    """What a test says yes to is none of the person's who runs it: platformdirs keeps a user's state there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def commands():
    return Dataset(home_commands(n=60, test=12, seed=0), {"sample": "home-commands", "n": 60})


@pytest.fixture(scope="session")
def dataset(commands, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "home-commands"
    commands.save(folder)
    return folder


@pytest.fixture(scope="session")
def embedded():
    return converted()


@pytest.fixture(scope="session")
def tokenizer(embedded):
    from etabli.models import loading

    return loading.load_tokenizer(embedded)


@pytest.fixture(scope="session")
def tiny(embedded, tmp_path_factory):
    """A two-layer Llama with random weights and the embedded model's tokenizer: real code, a second a run."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).bfloat16().save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy2(embedded.folder / name, folder / name)
    return str(folder)


@pytest.fixture(scope="session")
def plain(tiny):
    """The tiny model in float32: no ties broken by rounding."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(2)
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    for parameter in model.parameters():  # random weights repeat one token for ever unless they are larger
        parameter.data *= 3
    return model


@pytest.fixture
def cache(embedded, tmp_path, monkeypatch):
    """A cache of this test's own, for the children that it starts. What still runs after a test is stopped."""
    monkeypatch.setenv("ETABLI_CACHE", str(cache_in(tmp_path / "cache")))
    yield tmp_path / "cache"
    stop_children(tmp_path)


def stop_children(place):
    """Stop the runs below a folder that another process trains: a run outlives a test that failed, as runs do."""
    from etabli.runs.run import Run

    for file in place.rglob(PROCESS):
        try:
            trainer = json.loads(file.read_text())["pid"]
        except (ValueError, TypeError, KeyError):  # some tests write odd ones
            continue
        if trainer != os.getpid() and (file.parent / RECIPE).is_file():
            Run.attach(file.parent).stop()


@pytest.fixture
def training_here(cache):
    """Runs train in this process: for all but what kills, signals or stops a child."""
    from in_process import in_process

    with in_process():
        yield


@pytest.fixture(scope="session")
def training_in_process():
    """The same for fixtures that tests share: ``with training_in_process(folder):``, and a cache in that folder."""
    from in_process import in_process

    @contextlib.contextmanager
    def within(folder):
        with pytest.MonkeyPatch.context() as patch, in_process():
            patch.setenv("ETABLI_CACHE", str(cache_in(folder / "cache")))
            yield

    return within


@pytest.fixture
def no_owner(tmp_path, monkeypatch):
    """A cache of this test's own for the owner file alone: runs of other tests don't count."""
    from etabli.core import processes

    monkeypatch.setattr(processes, "_owner_file", lambda: tmp_path / "owner.json")


@pytest.fixture
def fresh_accelerate():
    """accelerate keeps one precision a process; the trainings of other tests have theirs."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def write_jsonl(tmp_path):
    def write(rows, name="rows.jsonl"):
        path = tmp_path / name
        path.write_text("\n".join(storage.to_json(row) for row in rows) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def runs(tiny, tmp_path_factory):
    """Three runs on the same data: an adapter that changes much, one that changes nothing, and another seed's."""
    home = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        from etabli.core import processes
        from etabli.runs.recipe import Recipe

        patch.setattr(processes, "_owner_file", lambda: home / "owner.json")
        Dataset(home_commands(n=40, test=8, seed=0)).save(home / "data")
        for name, scale, seed in (("changed", 0.5, 0), ("nothing", 0.0, 0), ("other", 0.5, 1)):
            Recipe(data="data", model=tiny, seed=seed).save(home / name / RECIPE)
            adapted(tiny, home / name / "adapter", scale, seed)
    for step in (1, 2):
        adapted(tiny, home / "changed" / "checkpoints" / f"step-{step:06d}", 0.1 * step)
    return home


@pytest.fixture
def answered(runs, no_owner):
    """Results of a few rows, of a model that knows nothing."""
    from etabli.evaluation.evaluate import evaluate

    return evaluate(runs / "changed", limit=6, max_new_tokens=12, save=False)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 6 MB; skipped where one can't be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True)
    except OSError as error:
        pytest.skip(f"no mount: {error}")
    if done.returncode:
        pytest.skip(f"a small file system can't be mounted: {done.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)

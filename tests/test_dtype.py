"""The dtype on a CPU: timed once a machine, frozen in the run, overridden by the recipe, right in either."""

import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etabli.core import cpu_dtype, machine
from etabli.core.contracts import RECIPE
from etabli.core.errors import BadInput, BadRecipe
from etabli.memory import devices
from etabli.memory.ledger_view import of_run
from etabli.models import loading, sources
from etabli.runs import events
from etabli.runs.recipe import Recipe, read_recipe
from etabli.runs.run import Run
from etabli.training import worker
from trainings import by_formula, gradients, training

FASTER = {"float32": {"bfloat16": 2.0, "float32": 1.0}, "bfloat16": {"bfloat16": 1.0, "float32": 2.0}}


@pytest.fixture
def on_a_cpu(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def timer(monkeypatch):
    """Timings that a test chooses, and how often they were asked for."""
    chosen = {"times": FASTER["float32"], "asked": []}

    def time_products(shape, threads):
        chosen["asked"].append((shape, threads))
        return chosen["times"]

    monkeypatch.setattr(cpu_dtype, "time_products", time_products)
    return chosen


# --- the choice -----------------------------------------------------------------------------------------------------


@given(st.sampled_from(cpu_dtype.DTYPES), st.floats(1e-5, 10), st.floats(0.05, 20))
def test_the_flag_stands_unless_the_other_is_faster_by_the_margin(default, time, ratio):
    other = next(name for name in cpu_dtype.DTYPES if name != default)
    chosen = cpu_dtype.faster(default, {default: time * ratio, other: time})
    if abs(ratio - cpu_dtype.MARGIN) > 1e-6:
        assert chosen == (other if ratio > cpu_dtype.MARGIN else default)
    assert cpu_dtype.faster(default, {}) == default


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [("fma avx512_bf16", "bfloat16"), ("amx_bf16", "bfloat16"), ("avx512f bf16x", "float32"), ("", "float32")],
)
def test_what_the_flags_speak_for(flags, dtype):
    assert cpu_dtype.by_flags(set(flags.split())) == dtype


class Clock:
    """Time that passes only in products: each takes what it is told, one after the other."""

    def __init__(self):
        self.now, self.order = 0.0, []

    def __call__(self):
        return self.now

    def product(self, name, times):
        times = iter(times)

        def run():
            self.order.append(name)
            self.now += next(times)

        return run


def test_products_take_turns_and_one_slow_round_decides_nothing():
    clock = Clock()
    products = {
        "bfloat16": clock.product("bfloat16", [9, 0.02, 0.02, 0.3, 0.02, 0.02]),  # the first compiles, one is disturbed
        "float32": clock.product("float32", [9, 0.01, 0.01, 0.01, 0.01, 0.01]),
    }
    assert cpu_dtype.median_seconds(products, clock) == pytest.approx({"bfloat16": 0.02, "float32": 0.01})
    assert clock.order == ["bfloat16", "float32"] * (1 + cpu_dtype.ROUNDS)


def test_a_slow_machine_is_not_timed_for_long():
    clock = Clock()
    products = {name: clock.product(name, [1.0] * 20) for name in cpu_dtype.DTYPES}
    assert cpu_dtype.median_seconds(products, clock) == {"bfloat16": 1.0, "float32": 1.0}
    assert len(clock.order) == 4, "one to compile, one to time"


def test_timing_leaves_random_state_and_threads_as_they_were():
    import torch

    state, threads = torch.get_rng_state(), torch.get_num_threads()
    times = cpu_dtype.time_products((16, 32, 48), threads + 1)
    assert set(times) == set(cpu_dtype.DTYPES) and min(times.values()) > 0
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads


# --- once a machine -------------------------------------------------------------------------------------------------


def test_a_second_look_times_nothing(tmp_path, timer):
    for _ in range(3):
        assert cpu_dtype.choose(576, 1, tmp_path) == "float32"
    assert timer["asked"] == [(cpu_dtype.SHAPES["small"], 1)]


def test_other_threads_sizes_versions_and_machines_are_timed_for_themselves(tmp_path, timer, monkeypatch):
    import torch

    cpu_dtype.choose(576, 1, tmp_path)
    cpu_dtype.choose(576, 2, tmp_path)
    cpu_dtype.choose(4096, 1, tmp_path)
    monkeypatch.setattr(torch, "__version__", "99.0")
    cpu_dtype.choose(576, 1, tmp_path)
    monkeypatch.setattr(cpu_dtype, "machine", lambda: "another")
    cpu_dtype.choose(576, 1, tmp_path)
    small, large = cpu_dtype.SHAPES["small"], cpu_dtype.SHAPES["large"]
    assert timer["asked"] == [(small, 1), (small, 2), (large, 1), (small, 1), (small, 1)]
    assert len(json.loads((tmp_path / cpu_dtype.FILE).read_text())) == 5


@pytest.mark.parametrize("damage", ["", "[]", "{torn", '{"KEY": null}', '{"KEY": {"bfloat16": 1.0}}'])
def test_a_damaged_cache_is_timed_again(tmp_path, timer, damage):
    cpu_dtype.choose(576, 1, tmp_path)
    [key] = json.loads((tmp_path / cpu_dtype.FILE).read_text())
    (tmp_path / cpu_dtype.FILE).write_text(damage.replace("KEY", key))
    assert cpu_dtype.choose(576, 1, tmp_path) == "float32" and len(timer["asked"]) == 2
    assert json.loads((tmp_path / cpu_dtype.FILE).read_text())[key] == FASTER["float32"]


def test_without_a_cache_the_flag_stands_so_that_processes_agree(tmp_path, timer):
    (tmp_path / "file").write_text("")  # where the cache's folder would be
    times = cpu_dtype.seconds(576, 1, tmp_path / "file")
    assert times == {} and timer["asked"] == []


def test_of_two_at_once_one_times(tmp_path, timer):
    both = [threading.Thread(target=cpu_dtype.choose, args=(576, 1, tmp_path)) for _ in range(4)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(timer["asked"]) == 1


# --- who uses it ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", cpu_dtype.DTYPES)
def test_models_forecasts_and_the_doctor_compute_in_what_is_faster(
    name, tiny, tmp_path, timer, monkeypatch, no_owner, on_a_cpu
):
    import bitsandbytes as bnb
    import torch

    from etabli.app.doctor import compute

    monkeypatch.setenv("ETABLI_CACHE", str(tmp_path))
    timer["times"] = FASTER[name]
    dtype = getattr(torch, name)
    loaded = loading.load(tiny)
    layers = [part for part in loaded.model.modules() if isinstance(part, bnb.nn.Linear4bit)]
    assert loaded.dtype == dtype and {layer.compute_dtype for layer in layers} == {dtype}
    assert {layer.weight.quant_state.dtype for layer in layers} == {dtype}
    assert loaded.model.get_input_embeddings().weight.dtype == dtype
    assert devices.find_device("here", 576).dtype == name == str(machine.compute_dtype()).removeprefix("torch.")
    assert f"computes in {name}" in compute.dtypes()[1] and "2000.0 ms" in compute.dtypes()[1]
    assert loading.load(tiny, dtype="float32").dtype == torch.float32


def test_the_width_of_a_model(tiny, tmp_path):
    assert loading.hidden_size(sources.resolve(tiny).folder) == 64 and loading.hidden_size(tmp_path) == 0
    assert loading.layer_width({"n_embd": 768}) == 768 and loading.layer_width({}) == 0
    (tmp_path / "config.json").write_text('{"text_config": {"hidden_size": 4096}}')
    assert loading.hidden_size(tmp_path) == 4096


# --- the recipe and the run -----------------------------------------------------------------------------------------


def test_a_recipe_names_a_dtype(tmp_path):
    assert Recipe(data="x").dtype == "auto" and Recipe(data="x", dtype="float32").dtype == "float32"
    with pytest.raises(BadRecipe, match="dtype"):
        Recipe(data="x", dtype="half")


def test_a_dtype_that_the_device_lacks_is_refused_before_a_run_is_made(tiny, dataset, tmp_path, no_owner, on_a_cpu):
    with pytest.raises(BadInput, match=r"float16 needs a GPU.*write auto, bfloat16 or float32"):
        Run.start(Recipe(model=tiny, data=str(dataset), dtype="float16"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(BadInput, match="float16 needs a GPU"):
        loading.load(tiny, dtype="float16")


def test_an_old_card_does_not_compute_in_bfloat16(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert machine.compute_dtype() is machine.compute_dtype("float16") is torch.float16
    with pytest.raises(BadInput, match=r"Tesla T4 \(compute capability 7.5\) only emulates bfloat16"):
        machine.compute_dtype("bfloat16")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    assert machine.compute_dtype() is machine.compute_dtype("bfloat16") is torch.bfloat16


WANTED = [  # the recipe's, what the run began with, what is faster today -> what is computed in
    ("auto", {}, "float32", "float32"),
    ("auto", {"dtype": "bfloat16"}, "float32", "bfloat16"),
    ("auto", {"dtype": "float32"}, "bfloat16", "float32"),
    ("auto", {"dtype": "float16"}, "float32", "float32"),  # of a GPU that is not here; resume says so
    ("float32", {"dtype": "bfloat16"}, "bfloat16", "float32"),
    ("bfloat16", {}, "float32", "bfloat16"),
]


@pytest.mark.parametrize(("recipe", "promised", "fast", "dtype"), WANTED)
def test_a_run_goes_on_in_what_it_began_with(
    recipe, promised, fast, dtype, tiny, tmp_path, timer, monkeypatch, on_a_cpu
):
    monkeypatch.setenv("ETABLI_CACHE", str(tmp_path))
    timer["times"] = FASTER[fast]
    source = sources.resolve(tiny)
    assert worker._dtype(Recipe(data="x", model=tiny, dtype=recipe), source, promised) == dtype


@pytest.mark.parametrize("flags", [{"avx512_bf16"}, set()])
def test_a_run_that_froze_no_dtype_goes_on_by_the_flags(flags, tiny, tmp_path, timer, monkeypatch, on_a_cpu):
    monkeypatch.setenv("ETABLI_CACHE", str(tmp_path))
    monkeypatch.setattr(cpu_dtype, "cpu_flags", lambda: flags)
    timer["times"] = FASTER["float32" if flags else "bfloat16"]
    found = worker._dtype(Recipe(data="x", model=tiny), sources.resolve(tiny), {"engine": 2})
    assert found == cpu_dtype.by_flags(flags)


def test_a_run_freezes_its_dtype_and_resumes_in_it(tiny, dataset, tmp_path, monkeypatch, on_a_cpu):
    """Real children; what is faster changes between the two. The forecast beside it is of the run's own dtype."""
    monkeypatch.setenv("ETABLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    cpu_dtype.seconds(64, 1, tmp_path / "cache")
    remember(tmp_path / "cache", FASTER["float32"])
    recipe = Recipe(
        model=tiny, data=str(dataset), max_steps=3, threads=1, max_minutes=1e-6, eval_every=9, sample_every=9
    )
    run = Run.start(recipe, tmp_path / "run").wait(quiet=True)
    assert run.state == "stopped" and run.frozen["dtype"] == run.dtype == "float32"
    remember(tmp_path / "cache", FASTER["bfloat16"])
    run.resume().wait(quiet=True)
    begun = [event["dtype"] for event in events.of_kind(run.events(), "start")]
    assert len(begun) == 2 and set(begun) == {"float32"} and read_recipe(run.folder / RECIPE)[1]["dtype"] == "float32"
    assert of_run(run)["setup"]["dtype"] == "float32"


def remember(cache, times):
    known = json.loads((cache / cpu_dtype.FILE).read_text())
    (cache / cpu_dtype.FILE).write_text(json.dumps(dict.fromkeys(known, times)))


# --- numerics -------------------------------------------------------------------------------------------------------


def test_in_float32_every_gradient_is_that_of_the_formula(
    tiny, dataset, tmp_path, no_owner, on_a_cpu, fresh_accelerate
):
    """As a float32 run loads and computes by itself; the reference has no PEFT, bitsandbytes or packing."""
    import torch

    made = training(tiny, dataset, tmp_path, dtype="float32")
    torch.manual_seed(1)
    for parameter in made.trainable:
        torch.nn.init.normal_(parameter, std=0.05)
    assert {parameter.dtype for parameter in made.trainable} == {torch.float32}
    assert made.accelerator.mixed_precision == "no" and not made.packed_loss.warning
    packs = made.sampler.packs(1)
    for ours, theirs in zip(gradients(made, packs), by_formula(made, packs)):
        assert (ours - theirs).norm() < 1e-3 * theirs.norm()

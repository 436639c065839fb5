"""The engine's short ways against the long ones: attention, loss, layers, families of models, and little room."""

import contextlib
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

import trainings
from etabli.core.errors import BadInput, BadRecipe, NoRoom, NotFinite
from etabli.runs.recipe import Lora, Recipe
from etabli.training import chunked_cross_entropy as loss
from etabli.training import lora_and_optimizer, lora_linear4bit, oom, packed_attention, rms_norm, train_data
from etabli.training.evaluator import ANSWER_TOKENS
from etabli.training.packing import TokenizedRow, collate, pack_rows
from etabli.training.preflight import run_preflight

lengths = st.lists(st.integers(1, 90), min_size=1, max_size=7)


class Module(torch.nn.Module):
    is_causal = True
    num_key_value_groups = 3


def heads(total, count, seed):
    made = torch.randn(1, count, total, 8, generator=torch.Generator().manual_seed(seed))
    return made.requires_grad_()


def row_by_row(query, key, value, sizes):
    """Each row by itself, with a mask written out, in float64."""
    made, start = [], 0
    for size in sizes:
        part = slice(start, start + size)
        start += size
        mask = torch.ones(size, size, dtype=torch.bool).tril()
        q, k, v = (
            one[:, :, part].double() for one in (query, key.repeat_interleave(3, 1), value.repeat_interleave(3, 1))
        )
        weights = (q @ k.mT / math.sqrt(8)).masked_fill(~mask, -torch.inf).softmax(-1)
        made.append((weights @ v).transpose(1, 2))
    return torch.cat(made, 1)


@given(lengths, st.integers(0, 99), st.sampled_from(["one block", "blocks", "shared", "repeated"]))
def test_attention_is_that_of_each_row_alone(sizes, seed, way):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed_attention, "_is_faster_by_products", lambda device: way in ("one block", "blocks"))
        patch.setattr(packed_attention, "BLOCK", 16 if way == "blocks" else 128)
        patch.setattr(packed_attention, "_shares_keys", lambda device: way == "shared")
        query, key, value = (heads(sum(sizes), count, seed + at) for at, count in enumerate((6, 2, 2)))
        upstream = torch.randn(1, sum(sizes), 6, 8)
        with packed_attention.attend_by_row(sizes):
            found = packed_attention._attention(Module(), query, key, value, None)[0]
            got = torch.autograd.grad(found, (query, key, value), upstream)
    wanted = row_by_row(query, key, value, sizes)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5)
    for one, other in zip(got, torch.autograd.grad(wanted, (query, key, value), upstream.double())):
        torch.testing.assert_close(one, other.float(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["s_aux", "softcap", "position_bias"])
def test_attention_that_is_the_models_own_is_refused(name):
    with packed_attention.attend_by_row([3]), pytest.raises(ValueError, match=name):
        packed_attention._attention(Module(), *(heads(3, 2, 0) for _ in range(3)), None, **{name: torch.ones(1)})


@given(lengths)
def test_a_layout_holds_every_token_once(sizes):
    made = packed_attention.layout(sizes)
    assert made.spread[made.gather].tolist() == list(range(sum(sizes)))
    assert sum(rows * length for rows, length in made.batches) == len(made.spread)
    assert len(made.spread) < sum(sizes) + packed_attention.STEP * len(sizes)


@pytest.mark.parametrize("scale, cap, bias", [(1.0, None, False), (0.25, None, True), (2.0, 3.0, False)])
def test_the_loss_in_chunks_is_the_whole_one(scale, cap, bias, monkeypatch):
    torch.manual_seed(0)
    weight, hidden = torch.randn(301, 16), torch.randn(200, 16, requires_grad=True)
    held, targets = torch.randn(301) if bias else None, torch.randint(301, (200,))
    monkeypatch.setattr(loss, "LOGITS", 301 * 70)  # three chunks
    monkeypatch.setattr(loss, "CACHED_LOGITS", 301 * 9)  # of eight blocks each
    found = loss.summed_cross_entropy(hidden, loss.Head(weight, held, scale, cap), targets)
    logits = (hidden @ weight.T + (held if bias else 0)) * scale
    wanted = F.cross_entropy(torch.tanh(logits / cap) * cap if cap else logits, targets, reduction="sum")
    torch.testing.assert_close(found, wanted)
    got, due = (torch.autograd.grad(one * 0.3, hidden)[0] for one in (found, wanted))
    torch.testing.assert_close(got, due, rtol=1e-4, atol=1e-5)


def test_logits_never_exist_whole(monkeypatch):
    """No operation makes a tensor of more than one chunk's logits."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            made = func(*args, **(kwargs or {}))
            for one in made if isinstance(made, tuple) else (made,):
                largest = max(largest, one.numel() if torch.is_tensor(one) else 0)
            return made

    monkeypatch.setattr(loss, "LOGITS", 1000 * 64)
    hidden = torch.randn(640, 8, requires_grad=True)
    head, targets = loss.Head(torch.randn(1000, 8)), torch.randint(1000, (640,))
    with Sizes():
        loss.summed_cross_entropy(hidden, head, targets).backward()
    assert largest == 1000 * 64


# --- norms ----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.floats(1e-8, 1e-2), st.sampled_from([1e-3, 1.0, 1e3]), st.integers(0, 99))
def test_a_norm_and_its_gradient_are_those_of_the_formula(width, epsilon, size, seed):
    torch.manual_seed(seed)
    x = (torch.randn(2, 3, width) * size).requires_grad_()
    norm = LlamaRMSNorm(width, epsilon).requires_grad_(False)
    norm.weight.copy_(torch.rand(width) + 0.5)
    assert rms_norm.fuse(torch.nn.Sequential(norm)) == 1
    upstream, found = torch.randn_like(x), norm(x)
    exact = x.detach().double().requires_grad_()
    wanted = exact / (exact.square().mean(-1, keepdim=True) + epsilon).sqrt() * norm.weight.double()
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-6)
    got, due = (
        torch.autograd.grad(out, at, up)[0]
        for out, at, up in ((found, x, upstream), (wanted, exact, upstream.double()))
    )
    torch.testing.assert_close(got.double(), due, rtol=1e-4, atol=1e-5 / size)


def test_norms_of_another_formula_and_trained_ones_stay_as_they_are():
    trained, gemma = LlamaRMSNorm(8), Gemma2RMSNorm(8).requires_grad_(False)
    assert rms_norm.fuse(torch.nn.Sequential(trained, gemma)) == 0


# --- a layer and its adapter ----------------------------------------------------------------------------------------


def four_bit(**keys):
    """A PEFT model of one 4-bit layer in float32, its adapter not zero."""
    import bitsandbytes as bnb
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    plain = torch.nn.Linear(64, 96, bias=keys.pop("biased", False))
    layer = bnb.nn.Linear4bit(64, 96, bias=plain.bias is not None, compute_dtype=torch.float32, quant_type="nf4")
    layer.load_state_dict(plain.state_dict())
    model = torch.nn.Sequential(layer.to("cpu"))
    model.is_loaded_in_4bit = True  # what PEFT goes by
    made = get_peft_model(model, LoraConfig(r=4, lora_alpha=6, target_modules=["0"], **keys))
    for parameter in made.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    return made.train()


@pytest.mark.parametrize("keys", [{}, {"use_rslora": True}, {"biased": True}])
def test_a_fused_layer_is_peft_s(keys):
    model = four_bit(**keys)
    x = torch.randn(2, 7, 64, requires_grad=True)
    wanted = [x, *(one for one in model.parameters() if one.requires_grad)]
    long = model(x)
    due = torch.autograd.grad(long.square().sum(), wanted)
    assert lora_linear4bit.fuse(model) == 1
    short = model(x)
    torch.testing.assert_close(short, long)
    for one, other in zip(torch.autograd.grad(short.square().sum(), wanted), due):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    with model.disable_adapter():
        assert not torch.allclose(model(x), long)


@pytest.mark.parametrize(
    "keys", [{"use_dora": True}, {"lora_dropout": 0.1}, {"lora_bias": True}, {"bias": "all", "biased": True}]
)
def test_what_is_not_plain_stays_peft_s(keys):
    assert lora_linear4bit.fuse(four_bit(**keys)) == 0


# --- families -------------------------------------------------------------------------------------------------------

_SMALL = {
    "vocab_size": 520,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES = {
    "llama": {},
    "mistral": {"sliding_window": 6},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "phi3": {},
    "phi": {},
    "gemma": {"head_dim": 8},
    "gemma2": {"head_dim": 8, "sliding_window": 6},
    "cohere": {},
    "smollm3": {},
    "gemma3_text": {"head_dim": 8, "sliding_window": 6},
    "granite": {"logits_scaling": 4.0},
    "gpt_neox": {},
    "olmo2": {},
    "starcoder2": {},
    "stablelm": {},
    "gpt2": {"n_positions": 256},
    "mamba": {},
    "gpt_oss": {"head_dim": 8, "num_local_experts": 2, "num_experts_per_tok": 1},
    "qwen2_moe": {
        "use_sliding_window": True,
        "sliding_window": 6,
        "max_window_layers": 0,
        "num_experts": 2,
        "num_experts_per_tok": 1,
    },
}


class Holder:
    """What ``Objective`` wants of a loaded model."""

    device, pad_token_id, dtype = "cpu", 0, torch.float32

    def __init__(self):
        self.tokenizer = self


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_keeps_its_rows_apart(kind):
    """The loss of packed rows, and its gradient, are those of the model itself for each alone; or it is refused."""
    torch.manual_seed(0)
    if kind in ("mamba", "gpt_oss"):  # GPT-OSS tells its masks no positions (transformers 5.23): packed rows leak
        with pytest.raises(BadInput, match="batch_size: 1"):
            objective(kind, target_modules=["in_proj" if kind == "mamba" else "q_proj"])
        return
    made = objective(kind)
    before = [row_loss(made.base, row) for row in ROWS]
    parameters = [one for one in made.parameters() if one.requires_grad]
    wanted = sum(before)
    due = torch.autograd.grad(wanted, parameters, allow_unused=True)
    with made.compute(ROWS) as found:
        got = torch.autograd.grad(found, parameters, allow_unused=True)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-4), made.warning
    for one, other in zip(got, due):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-4)
    expected = {"gemma2": (False, True)}.get(kind, (True, True))
    assert rowwise_and_chunked(made) == expected, made.warning


ROWS = [TokenizedRow(str(size), *[[(at * 11 + size) % 500 for at in range(size)]] * 2) for size in (20, 3, 33)]


def row_loss(base, row):
    held = torch.tensor([row.ids])
    return base(held, labels=held).loss * row.trained_tokens


def objective(kind, **keys):
    """On a small random model of a family, in float32; the adapter is not zero."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    from etabli.training.packed_loss import PackedLoss

    base = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **_SMALL | FAMILIES[kind])).float().eval()
    peft = get_peft_model(base, LoraConfig(**{"target_modules": "all-linear", "task_type": "CAUSAL_LM"} | keys))
    for name, one in peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(one, std=0.05)
    return PackedLoss(peft, Holder(), contextlib.nullcontext).eval()


def rowwise_and_chunked(made):
    return made.rowwise, made.head is not None


def test_a_model_that_leaks_is_found_out(monkeypatch):
    """Attention over the whole pack, as a model would have it that drops what it does not know."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    monkeypatch.setattr(packed_attention, "_attention", sdpa_attention_forward)
    made = objective("llama")
    assert not made.rowwise and made.head is not None and "own kind" in made.warning


def test_a_trained_head_is_left_to_the_model():
    made = objective("llama", modules_to_save=["lm_head"])
    assert rowwise_and_chunked(made) == (True, False)


def test_memory_that_runs_out_in_the_trial_is_no_verdict(monkeypatch):
    from etabli.training.packed_loss import PackedLoss

    monkeypatch.setattr(PackedLoss, "_hidden_states", OutOfMemory(None, 1))
    with pytest.raises(torch.OutOfMemoryError):
        objective("llama")


# --- little room ----------------------------------------------------------------------------------------------------

rows = st.lists(st.integers(1, 50), min_size=1, max_size=20).map(
    lambda sizes: [TokenizedRow(str(at), [7] * size, [7] * size) for at, size in enumerate(sizes)]
)


@given(rows, st.sampled_from([1, 2, 4, 8, 64]))
def test_parts_hold_every_row_in_order(pack, pieces):
    made = oom.split_pack(pack, pieces)
    assert [row for part in made for row in part] == pack
    assert len(made) <= pieces and all(made)
    if pieces >= len(pack) * 50:
        assert len(made) == len(pack)


@given(rows, st.integers(0, 3))
def test_no_pack_of_any_epoch_takes_more_than_the_rehearsed_one(pack, epoch):
    recipe = Recipe(data="x", max_length=50, tokens_per_batch=60)
    made = oom.longest_pack(pack, recipe)
    assert max(len(row.ids) for row in pack) == len(made[0].ids)
    assert sum(len(row.ids) for row in made) <= 60
    for planned in pack_rows(pack, recipe, epoch):
        assert (
            sum(len(row.ids) for row in planned) <= sum(len(row.ids) for row in made) + 1
        )  # a row of 1 trains nothing
    assert len(oom.longest_pack(pack, Recipe(data="x", batch_size=3))) == min(3, len(pack))


class OutOfMemory:
    """Raises out-of-memory at chosen calls of a function, as a device would; before and after work was done."""

    def __init__(self, of, times, after=False):
        self.of, self.left, self.after, self.calls = of, times, after, 0

    def __call__(self, *args, **keys):
        self.calls += 1
        made = self.of(*args, **keys) if self.after else None
        if self.left:
            self.left -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return made if self.after else self.of(*args, **keys)


@pytest.fixture
def training(tiny, dataset, tmp_path, no_owner):
    return trainings.training(
        tiny, dataset, tmp_path, gradient_accumulation_steps=2, lr_scheduler="constant", warmup_steps=0
    )


def kinds(training, kind):
    return [event for event in training.log if event["kind"] == kind]


def weights(training):
    return torch.cat([parameter.detach().flatten() for parameter in training.trainable]).clone()


@pytest.mark.parametrize("phase", ["forward", "backward", "backward, done"])
def test_out_of_memory_in_a_step_halves_the_batch_and_nothing_else(training, phase, monkeypatch):
    trainings.in_float32(training)
    before, start = [parameter.detach().clone() for parameter in training.trainable], weights(training)
    training.train_step()
    whole, said = weights(training), kinds(training, "step")[-1]
    for parameter, held in zip(training.trainable, before):
        parameter.data.copy_(held)
    training.optimizer.optimizer.state.clear()
    training.step = 0
    place, name = (training.packed_loss, "forward") if phase == "forward" else (training.accelerator, "backward")
    failing = OutOfMemory(getattr(place, name), 2, after="done" in phase)
    monkeypatch.setattr(place, name, failing)
    training.train_step()
    again = kinds(training, "step")[-1]
    assert (
        training.micro_batches == 4
        and [event["why"][:18] for event in kinds(training, "retry")] == ["CUDA out of memory"] * 2
    )
    assert again["loss"] == pytest.approx(said["loss"], rel=1e-3) and again["trained_tokens"] == said["trained_tokens"]
    assert again["grad_norm"] == pytest.approx(said["grad_norm"], rel=1e-3)
    assert trainings.cosine([weights(training) - start], [whole - start]) > 0.999


def test_a_row_that_never_fits_is_named_and_checkpointing_was_tried(training, monkeypatch):
    failing = OutOfMemory(training.packed_loss.forward, 99)
    monkeypatch.setattr(training.packed_loss, "forward", failing)
    with pytest.raises(NoRoom, match=r"Row (en|fr)-\w+ with its \d+ tokens does not fit(.|\n)*max_length"):
        training.train_step()
    assert training.recompute_layers and any("computed again" in event["what"] for event in kinds(training, "retry"))
    assert all(parameter.grad is None for parameter in training.trainable)


def test_out_of_memory_in_an_evaluation_or_in_answers_never_touches_training(training, monkeypatch):
    from etabli.models import generate

    training.evaluator.evaluate(0)
    monkeypatch.setattr(training.packed_loss, "forward", OutOfMemory(training.packed_loss.forward, 1))
    training.evaluator.evaluate(1)
    first, second = kinds(training, "eval")
    assert second["loss"] == pytest.approx(first["loss"], rel=1e-3) and not kinds(training, "retry")
    monkeypatch.setattr(training.packed_loss, "forward", OutOfMemory(training.packed_loss.forward, 999))
    training.evaluator.evaluate(2)
    assert len(kinds(training, "eval")) == 2 and "No held-out loss at step 2" in kinds(training, "warning")[-1]["what"]
    monkeypatch.setattr(generate, "answer", OutOfMemory(generate.answer, 1))
    training.evaluator.sample(3)
    count = len(kinds(training, "sample"))
    assert count == train_data.DEFAULT_PROMPTS
    assert all(event["cut"] == (len(event["ids"]) == ANSWER_TOKENS) for event in kinds(training, "sample"))
    monkeypatch.setattr(generate, "answer", OutOfMemory(generate.answer, 9))
    training.evaluator.sample(4)
    assert len(kinds(training, "sample")) == count and "No answers" in kinds(training, "warning")[-1]["what"]
    assert training.micro_batches == 1 and not training.recompute_layers


def test_the_part_that_fails_is_split_and_named_not_the_fullest(training, monkeypatch):
    """One long row alone in its pack never fits; a pack of many short ones always does."""
    packs = sorted(training.sampler.packs(1), key=len)
    longest = max((row for pack in packs for row in pack), key=lambda row: len(row.ids))
    short = [row for row in packs[-1] if row is not longest]
    forward, failing = training.packed_loss.forward, OutOfMemory(None, 99)
    training.sampler.packs = lambda step: [[longest], short]

    def held(input_ids, **given):
        is_long = longest.ids == input_ids[0, : len(longest.ids)].tolist()
        return (failing if is_long else forward)(input_ids=input_ids, **given)

    monkeypatch.setattr(training.packed_loss, "forward", held)
    with pytest.raises(NoRoom, match=longest.id):
        training.train_step()
    assert training.micro_batches == 1 and training.recompute_layers


def test_states_that_do_not_fit_are_told_before_the_first_step(training, monkeypatch):
    monkeypatch.setattr(training.optimizer.optimizer, "step", OutOfMemory(training.optimizer.optimizer.step, 9))
    before = weights(training)
    with pytest.raises(NoRoom, match=r"states for [\d,]+ weights"):
        run_preflight(training)
    assert torch.equal(weights(training), before) and not kinds(training, "step")


def test_memory_that_runs_out_in_the_optimisers_step_saves_nothing(training, monkeypatch):
    monkeypatch.setattr(training.optimizer.optimizer, "step", OutOfMemory(training.optimizer.optimizer.step, 1))
    with pytest.raises(NoRoom, match="last checkpoint"):
        training.train(lambda: None)
    assert not kinds(training, "checkpoint")


@pytest.mark.parametrize("kind", ["adamw", "adamw8bit", "paged_adamw8bit"])
def test_a_rehearsal_leaves_no_trace(tiny, dataset, tmp_path, no_owner, kind):
    """Weights, dice and rates are as before, and the steps that follow are those of a run without one, bit for bit."""
    plain, made = (trainings.training(tiny, dataset, tmp_path / name, optimizer=kind) for name in "ab")
    before, dice = weights(made), torch.get_rng_state()
    run_preflight(made)
    assert torch.equal(weights(made), before) and torch.equal(torch.get_rng_state(), dice)
    phases = {event["phase"]: event for event in kinds(made, "memory")}
    assert list(phases) == ["forward", "backward", "optimizer", "evaluation", "dequantized"]
    assert all(event["resident"] > 2**20 for phase, event in phases.items() if phase != "dequantized")
    assert [group["lr"] for group in made.optimizer.param_groups] == made.lr_scheduler.get_last_lr()
    for training in (plain, made):
        training.train_step()
        training.train_step()
    assert torch.equal(weights(plain), weights(made))


def test_no_weight_that_is_not_finite_is_saved(training, tmp_path):
    from etabli.runs import checkpoints

    training.train_step()
    training.save()
    with torch.no_grad():
        training.trainable[0].view(-1)[0] = float("nan")
    training.step += 1
    with pytest.raises(NotFinite, match="Nothing was saved"):
        training.save()
    assert [folder.name for folder in checkpoints.list_checkpoints(tmp_path)] == ["step-000001"]
    with pytest.raises(NotFinite, match="Rows of this batch"):
        training.train_step()


class Scaled:
    """A gradient scaler's answers."""

    def __init__(self, scale):
        self.scale = scale

    def get_scale(self):
        return self.scale


def test_a_gradient_beyond_half_precision_is_skipped_up_to_a_point(training, monkeypatch):
    monkeypatch.setattr(training.accelerator, "clip_grad_norm_", lambda *_: torch.tensor(math.inf))
    losses = [([TokenizedRow("a", [1], [1])], torch.tensor(1.0))]
    monkeypatch.setattr(training.accelerator, "scaler", Scaled(2.0**16))
    assert training._clip_gradients(losses) == (1.0, math.inf)
    monkeypatch.setattr(training.accelerator, "scaler", Scaled(2.0**-11))
    with pytest.raises(NotFinite, match="Rows of this step: a"):
        training._clip_gradients(losses)


def test_a_gradient_that_is_not_finite_ends_the_run_before_the_step(training, monkeypatch):
    backward, before = training.accelerator.backward, weights(training)

    def spoilt(loss):
        backward(loss)
        training.trainable[0].grad.view(-1)[0] = math.nan

    monkeypatch.setattr(training.accelerator, "backward", spoilt)
    with pytest.raises(NotFinite, match="gradient norm nan"):
        training.train_step()
    assert torch.equal(weights(training), before) and training.step == 0


def test_the_batch_with_the_bad_loss_is_named(training, monkeypatch):
    first, second = training.sampler.packs(1)
    calls, forward = [], training.packed_loss.forward

    def spoilt(**given):
        calls.append(1)
        return forward(**given) * (math.nan if len(calls) == 2 else 1.0)

    monkeypatch.setattr(training.packed_loss, "forward", spoilt)
    with pytest.raises(NotFinite, match=rf"Rows of this batch: {second[0].id}") as error:
        training.train_step()
    assert first[0].id not in str(error.value)


def test_half_precision_keeps_the_slopes_of_a_sure_token(monkeypatch):
    """Each of 150,000 wrong words has a slope far below float16's least number; together they are half of it."""
    torch.manual_seed(0)
    weight, hidden = torch.randn(150_000, 8), torch.zeros(4, 8)
    weight[:, 1] = 50.0  # what the wrong words have in common, and the right one has not
    weight[7] = 0.0
    weight[7, 0], hidden[:, 0] = 18.0, 1.0
    targets = torch.full((4,), 7)
    wanted = hidden.clone().requires_grad_()
    F.cross_entropy(wanted @ weight.T, targets, reduction="sum").backward()

    def off():
        got = hidden.half().requires_grad_()
        (loss.summed_cross_entropy(got, loss.Head(weight.half()), targets) * 2.0**14).backward()
        return float(torch.linalg.norm(got.grad.float() / 2.0**14 - wanted.grad) / torch.linalg.norm(wanted.grad))

    assert off() < 0.06  # float16 itself rounds a logit of 18 by 0.008
    monkeypatch.setattr(loss, "FLOAT16_SCALE", 1.0)
    assert off() > 0.2


@pytest.mark.parametrize("checkpointing", ["all", 1])
def test_checkpointing_changes_no_gradient(training, checkpointing):
    trainings.in_float32(training)
    packs = training.sampler.packs(1)
    for parameter in training.trainable:
        torch.nn.init.normal_(parameter, std=0.05)
    before, calls = trainings.gradients(training, packs), []
    lora_and_optimizer.checkpoint_layers(training.peft, None if checkpointing == "all" else checkpointing)
    for at, layer in enumerate(training.packed_loss.base.model.layers):
        layer.mlp.register_forward_pre_hook(lambda *_, at=at: calls.append(at))
    for one, other in zip(before, trainings.gradients(training, packs)):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)
    again = {"all": {0: 2, 1: 2}, 1: {0: 2, 1: 1}}[checkpointing]
    assert {at: calls.count(at) / len(packs) for at in (0, 1)} == again


# --- recipes --------------------------------------------------------------------------------------------------------


def test_any_field_of_lora_config_passes_through():
    held = Lora(rank=8, use_rslora=True, init_lora_weights="gaussian", target_modules=["q_proj"])
    assert held.peft_fields() == {
        "r": 8,
        "lora_alpha": 32,
        "lora_dropout": 0.0,
        "target_modules": ["q_proj"],
        "use_rslora": True,
        "init_lora_weights": "gaussian",
    }
    assert Recipe(data="x", lora={"use_dora": True}) == Recipe(**Recipe(data="x", lora={"use_dora": True}).keys())


@pytest.mark.parametrize(
    "given, said",
    [
        ({"use_rslorra": 1, "use_dorra": 1}, "use_rslora.*use_dora"),
        ({"ranc": 3}, "did you mean rank"),
        ({"r": 3}, "r is called rank here"),
        ({"task_type": "X"}, "can't be set in a recipe"),
        ({"init_lora_weights": "pissa"}, "change the base"),
        ({"init_lora_weights": "orthogonal"}, "4 bits"),
        ({"layer_replication": [[0, 2], [0, 2]]}, "can't be set in a recipe"),
        ({"layers_pattern": "h"}, "PEFT refuses"),
    ],
)
def test_a_slip_in_lora_is_told(given, said):
    with pytest.raises(BadRecipe, match=rf"lora(.|\n)*{said}"):
        Recipe(data="x", lora=given)


def test_whole_modules_that_are_trained_are_float32(tiny, dataset, tmp_path, no_owner):
    made = trainings.training(tiny, dataset, tmp_path, lora={"modules_to_save": ["lm_head"]})
    assert {one.dtype for one in made.trainable} == {torch.float32}
    assert made.packed_loss.head is None
    made.train_step()


def test_auto_is_filled_in_or_waits_for_the_device(training):
    auto = dict.fromkeys(
        ("learning_rate", "tokens_per_batch", "threads", "optimizer", "gradient_checkpointing"), "auto"
    )
    assert Recipe(data="x", **auto) == Recipe(data="x")
    assert type(training.optimizer.optimizer) is torch.optim.AdamW
    with pytest.raises(BadRecipe, match="epochs"):
        Recipe(data="x", epochs="auto")


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "inverse_sqrt"])
def test_every_schedule_warms_up(schedule):
    recipe = Recipe(data="x", lr_scheduler=schedule, warmup_steps=4, learning_rate=0.1)
    rates = curve(recipe, 20)
    assert rates[:5] == pytest.approx([0, 0.025, 0.05, 0.075, 0.1]) and max(rates) == pytest.approx(0.1)


def test_a_range_rises_evenly_on_a_logarithmic_scale():
    rates = curve(Recipe(data="x", lr_scheduler="range", learning_rate=0.1), 21)
    assert rates[0] == pytest.approx(1e-5) and rates[-1] == pytest.approx(0.1)
    assert all(later / earlier == pytest.approx(1e4 ** (1 / 20)) for earlier, later in itertools.pairwise(rates))


def curve(recipe, steps):
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=recipe.learning_rate)
    made = lora_and_optimizer.make_lr_scheduler(optimizer, recipe, steps)
    found = []
    for _ in range(steps):
        found.append(made.get_last_lr()[0])
        optimizer.step()
        made.step()
    return found


def test_a_pack_is_filled_up_by_less_than_a_block():
    made = collate([TokenizedRow("a", [5] * 70, [5] * 70)], 0, "cpu")
    assert made["input_ids"].shape == (1, 128) and made["lengths"] == [70, 58]
    assert collate([TokenizedRow("a", [5] * 64, [5] * 64)], 0, "cpu")["lengths"] == [64]

"""One realistic widget of each class, with real sources where they need no model, for tests of layout and colours."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import etabli
import etabli_widgets
import hostile_markup
import seal_sample
from etabli.data.dataset import Dataset
from etabli.evaluation import card
from etabli.evaluation.aggregate import summarise

GIB = 2**30
LONG = "Turn on the lamp in the kitchen, then wait for ten minutes and tell me whether the door is closed."


def run_events(steps: int = 60) -> list[dict[str, Any]]:
    """Return the events of a run with a falling loss, three evaluations and three samples, the first of them cut."""
    events: list[dict[str, Any]] = [{"kind": "start", "t": 0.0, "steps": steps * 2, "probes": [LONG, "Lights off"]}]
    events += [{"kind": "eval", "t": 1.0, "step": 0, "loss": 4.1}]
    for step in range(1, steps + 1):
        loss = 4 / step**0.5 + 0.3 * (step % 3)
        events.append(
            {
                "kind": "step",
                "t": 2.0 + step,
                "step": step,
                "loss": loss,
                "lr": 2e-3,
                "tokens_per_s": 281.0,
                "grad_norm": 1.0 + step % 4,
                "memory_bytes": 1.65e9,
            }
        )
        if step == 33:
            events.append({"kind": "retry", "t": 2.4 + step, "what": "in 2 parts", "why": "out of memory"})
        if step % 20 == 0:
            events.append({"kind": "checkpoint", "t": 2.45 + step, "step": step, "path": f"checkpoints/{step}"})
            events.append({"kind": "eval", "t": 2.5 + step, "step": step, "loss": loss + 0.1})
            answer = {"text": '{"intent": "On"}', "cut": False} if step > 20 else {"text": "On, on, on", "cut": True}
            events.append({"kind": "sample", "t": 2.6 + step, "step": step, "probe": 0, **answer})
    return events


def monitor(folder: Path) -> etabli_widgets.RunMonitor:
    """A running run."""
    earlier = ("zero", [{**event, "loss": event.get("loss", 0) * 1.1} for event in run_events(80)])
    return etabli_widgets.RunMonitor(
        run_events(), stop=lambda: None, resume=lambda: None, earlier=earlier, name="first", notes=["Note."]
    )


def chat(folder: Path) -> etabli_widgets.ChatCompare:
    """Three sides, one of them cut; two questions are answered, one pair is voted on."""

    def side(word: str, is_cut: bool = False) -> Callable[..., Any]:
        def answer(prompt: str, **settings: Any) -> Iterator[str]:
            yield f"{word}: {prompt} " * 6
            return is_cut

        return answer

    settings = {"temperature": 0.7, "seed": 3, "strength": 0.5}
    sides = {"base": side("base", True), "prompted": side("prompted"), "tuned": side("tuned")}
    numbers = itertools.count()
    hooks = {
        "keep": lambda entry: {"id": str(next(numbers)), **entry},
        "keep_vote": lambda vote: None,
        "go_on": lambda name: None,
    }
    widget = etabli_widgets.ChatCompare(sides, [LONG, "Hello"], settings, **hooks)
    widget.ask("Where is the harbour?")
    widget.vote("prompted")
    widget.ask(LONG, go_on=True)
    widget.vote("tuned", "base")
    return widget


class _Votes:
    total, notes, vote_count, is_revealed = 40, ["Both answers are shown as they are."], 3, False

    def current_pair(self) -> Any:
        answers = {"prompted": "It lies north. " * 30, "tuned": "South."}
        item = SimpleNamespace(prompt=LONG, answers=answers, cut=("prompted",))
        return SimpleNamespace(item=item, left="prompted", right="tuned")

    def progress_text(self) -> str:
        return "Evidence 1.4: too early to say."

    def reveal_as_text(self) -> dict[str, Any]:
        heads, row = (
            ["", "won", "lost", "tie", "win rate"],
            ["tuned against prompted", "20", "9", "11", "64 % [51, 77]"],
        )
        compared = "You compared prompted with tuned."
        return {
            "compared": compared,
            "verdict": "tuned is preferred.",
            "kind": "better",
            "heads": heads,
            "rows": [row],
            "notes": ["A note."],
        }


def arena(folder: Path) -> etabli_widgets.BlindArena:
    """A voting booth in which somebody has looked at who is who."""
    widget = etabli_widgets.BlindArena(_Votes())
    widget.last = {"choice": "left", "lengths": [450, 6], "seconds": 2.0}
    widget.look()
    return widget


def _rows() -> list[dict[str, Any]]:
    rows = []
    for number in range(60):
        turns = [
            {"role": "user", "content": f"{number}: {LONG}"},
            {"role": "assistant", "content": f"Done {number}. " * 4},
        ]
        rows.append({"id": f"r{number}", "messages": turns, "source": f"s{number % 3}"})
    near = [rows[5]["messages"][0], {"role": "assistant", "content": rows[5]["messages"][1]["content"] + " changed"}]
    return [*rows, {**rows[5], "id": "near", "messages": near}, {**rows[7], "id": "copy"}]


def check_report(folder: Path) -> etabli_widgets.CheckReport:
    """The check of the mails that are delivered with établi; a finding with marked parts is open."""
    widget = etabli.check("customer-mails").show()
    widget.look("pii-email")
    return widget


def _desk(folder: Path) -> Any:
    if not (folder / "rows").exists():
        Dataset(_rows()).save(folder / "rows")
    return etabli.curate(folder / "rows", [{"filter": "exact"}, {"filter": "near"}], author="ann")


def table(folder: Path) -> Any:
    """The table of a small data set with near copies; a rejected row is open."""
    widget = _desk(folder).table()
    widget.open_row("near")
    return widget


def threshold(folder: Path) -> Any:
    """Pairs at a threshold."""
    widget = _desk(folder).threshold("near")
    widget.seen = {**widget.seen, "border": [*widget.seen["border"]] * 6}  # more than fit
    return widget


def _policy(trained: list[bool]) -> dict[str, Any]:
    return {"trained": sum(trained), "share": sum(trained) / len(trained), "loss": 1.234}


def lens(folder: Path) -> etabli_widgets.MaskLens:
    """Four rows of five roles, one assertion that fails."""
    words = [f" word{number}" for number in range(40)]
    roles = ["template", "system", "user", "tool", "text", "reasoning", "assistant"]
    role = [roles[number // 6] for number in range(40)]
    trained = {
        "answers": [name == "assistant" for name in role],
        "all": [name != "template" for name in role],
        "spans": [False] * 40,
    }
    row = {
        "ids": list(range(40)),
        "text": words,
        "role": role,
        "offset": [[7 * n, 7 * n + 7] for n in range(40)],
        "message": [None if name == "template" else 0 for name in role],
        "starts": {"0": 0},
        "lengths": {"0": 280},
        "nats": [number % 9 for number in range(40)],
        "cut": 3,
        "trained": trained,
        "assertions": {name: [] for name in trained},
    }
    view = {
        "version": 1,
        "model": "SmolLM2-135M",
        "step": 3,
        "steps": 90,
        "policy": "answers",
        "max_length": 512,
        "packs": 1,
        "said": "Rows are packed.",
        "rows": [{**row, "id": f"r{number}"} for number in range(4)],
        "policies": {name: _policy(flags) for name, flags in trained.items()},
        "of": 62,
        "failing": {"not-empty": 2},
        "failed": {"not-empty": [["r9", "nothing is trained"], ["r3", "nothing is trained"]]},
    }
    return etabli_widgets.MaskLens(view)


class _Memory:
    model, device, setup = "meta-llama/Llama-3.1-8B", SimpleNamespace(name="t4"), None
    stops: ClassVar = {"seq": [512, 1024, 2048], "batch": [1, 2, 4], "rank": [8, 16], "checkpointing": [0, 16, 32]}

    def slider_positions(self, setup: Any) -> dict[str, int]:
        return {"seq": 2048, "batch": 1, "rank": 16, "checkpointing": 0}

    def breakdown_at(self, **keys: int) -> dict[str, Any]:
        names = ["weights", "adapter", "gradients", "optimiser", "activations", "logits", "overhead"]
        phases = []
        for number, name in enumerate(["load", "forward", "loss", "backward", "step", "generate"]):
            parts = {part: GIB * (0.4 + 0.3 * number * (at % 3)) for at, part in enumerate(names)}
            size = sum(parts.values())
            measured = size * 0.9 if number in (1, 3) else None
            phases.append({"name": name, "parts": parts, "tensors": size, "device": size, "measured": measured})
        peak = max(phases, key=lambda phase: phase["device"])
        advice = [{"change": "checkpoint 16 layers", "saves": 3 * GIB, "fits": False, "cost": "a third slower"}] * 2
        advice = [{**item, "positions": {**keys, "checkpointing": 16}} for item in advice]
        return {
            "phases": phases,
            "host": 0,
            "limit": 8 * GIB,
            "now": keys,
            "fits": False,
            "recalibrated": None,
            "peak": {"device": peak["device"], "phase": peak["name"]},
            "largest": {"seq": 1024, "batch": 2},
            "advice": advice,
        }


def ledger(folder: Path) -> etabli_widgets.MemoryLedger:
    """An 8B model on a T4, with two measured phases."""
    return etabli_widgets.MemoryLedger(_Memory())


def _moves(words: list[str]) -> dict[str, list[Any]]:
    size = range(len(words))
    return {
        "tokens": words,
        "ids": list(size),
        "logp": [-0.1 * (n % 7) for n in size],
        "rank": [1 + n % 3 for n in size],
        "base_logp": [-1.3 * ((n * 5) % 7) / 2 for n in size],
        "base_rank": [1 + n % 40 for n in size],
        "kl": [0.2 * (n % 5) for n in size],
        "top": [[["the", -0.1], ["a", -3.0]]] * len(words),
        "base_top": [[["a", -0.5]]] * len(words),
    }


def token_diff(folder: Path) -> etabli_widgets.TokenDiff:
    """Twelve answers of forty tokens."""
    moves = _moves([f" word{number}" for number in range(40)])
    rows = [
        {
            "id": f"r{number}",
            "prompt": f"{number}: {LONG}",
            "answer": "".join(moves["tokens"]),
            "move": 3.9,
            "at": 4,
            "total": 12.0 - number,
            "kl": 0.4,
            "moves": moves,
            "cut": number == 0,
            "truth": {"text": "", "total": -2.5, "tokens": 40, "first": 14, "base_first": 3, "moves": moves},
        }
        for number in range(12)
    ]
    return etabli_widgets.TokenDiff({"model": "SmolLM2", "of": "tuned", "said": ["A note."], "rows": rows})


def film(folder: Path) -> etabli_widgets.TrainingFilm:
    """Five frames of one probe, one of them pinned; all but the last are cut."""
    words = [f" word{number}" for number in range(20)]
    frames = []
    for step in (0, 10, 20, 30, 40):
        kl = [step / 20 + 0.1 * (n % 5) for n in range(20)]
        moves = {"tokens": words, "logp": [-0.1] * 20, "base_logp": [-0.1 - step / 20 * (n % 4) for n in range(20)]}
        answer = {"step": step, "text": "".join(words), "cut": step < 40}
        frames.append({**answer, **moves, "kl": kl, "mean_kl": sum(kl) / 20})
    history = {
        "version": 1,
        "run": "first",
        "state": "completed",
        "steps": 40,
        "said": ["A note."],
        "strips": [{"probe": LONG, "frames": frames, "changed": 10, "jump": 20}],
        "pins": [{"probe": LONG, "step": 20, "why": "valid JSON", "by": "ann", "id": "1"}],
    }
    widget = etabli_widgets.TrainingFilm(history, lambda *asked: history["pins"], author="ann")
    widget.show(30)
    return widget


def results() -> dict[str, Any]:
    """Results in which tuned is worse than every other system: each difference has a minus sign."""
    made: dict[str, Any] = hostile_markup.evaluation()
    for number, row in enumerate(made["rows"]):
        row["errors"] = {}
        row["values"]["exact"] = {"base": number > 2, "prompted": number > 1, "lookup": number > 3, "tuned": number > 9}
        row["correct"] = dict(row["values"]["exact"])
    return dict(summarise(made))  # type: ignore[arg-type]


def verdict(folder: Path) -> etabli_widgets.VerdictCard:
    """A verdict with four systems and a number that is open."""
    widget = card.verdict(results())  # type: ignore[arg-type]
    gap = widget.view["gaps"][0]
    widget.look(score=gap["score"], slice=gap["slice"], against=gap["against"], which="broken")
    return widget


def round_trip(folder: Path) -> etabli_widgets.RoundTrip:
    """The doctor's trip to the kernel."""
    return etabli_widgets.RoundTrip()


def seal(folder: Path) -> etabli_widgets.SealCard:
    """One form sealed, one with drift, and one whose template is another one."""
    return etabli_widgets.SealCard(seal_sample.SEAL)


SAMPLES: dict[str, Callable[[Path], Any]] = {
    "RunMonitor": monitor,
    "ChatCompare": chat,
    "BlindArena": arena,
    "CheckReport": check_report,
    "DatasetTable": table,
    "ThresholdPairs": threshold,
    "MaskLens": lens,
    "MemoryLedger": ledger,
    "TokenDiff": token_diff,
    "TrainingFilm": film,
    "SealCard": seal,
    "VerdictCard": verdict,
    "RoundTrip": round_trip,
}

"""Base and tuned, side by side, on one copy of the weights."""

from collections.abc import Iterator
from pathlib import Path

from etabli import generation
from etabli.contracts import Message
from etabli.models.loading import Loaded, load
from etabli.training import events
from etabli.training.run import Run


def chat(run: Run | str | Path, loaded: Loaded | None = None, system: str | None = None, max_new_tokens: int = 64):
    """A ``ChatCompare`` of a run's base and its adapter.

    Args:
        run: a run or its folder.
        loaded: base and adapter, if they are in memory already.
        system: the system message; by default the one of the run's data.
        max_new_tokens: longest answer.
    """
    from etabli_widgets import ChatCompare

    run = Run.attach(run)
    loaded = loaded or load(run.recipe.model, adapter=run.adapter)
    opening = _opening(run) if system is None else [{"role": "system", "content": system}] * bool(system)

    def side(base: bool):
        def answers(prompt: str) -> Iterator[str]:
            talk: list[Message] = [*opening, {"role": "user", "content": prompt}]
            with loaded.as_base(base):
                yield from generation.stream(loaded.model, loaded.tokenizer, talk, max_new_tokens)

        return answers

    prompts = events.last(run.events(), "start").get("probes", [])
    return ChatCompare({"base": side(True), "tuned": side(False)}, suggestions=prompts)


def _opening(run: Run) -> list[Message]:
    """The system message that the run's rows begin with, if they do."""
    from etabli.data.dataset import Dataset

    first = Dataset.open(run.recipe.data, run.folder).rows[0]["messages"][0]
    return [{"role": "system", "content": first["content"]}] if first["role"] == "system" else []

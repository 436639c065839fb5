"""An exported form, asked as its users would ask it: with messages, by the form's own template and tokenizer."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from etabli.core import machine
from etabli.core.contracts import Message
from etabli.core.errors import BadData
from etabli.exports.divergence import LogProbabilities
from etabli.exports.hard_conversations import Conversation
from etabli.models import generate
from etabli.models.loading import LoadedModel
from etabli.models.quiet import quiet
from etabli.rendering.template_engine import Tools

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

Result = TypeVar("Result")
FREE_SHARE = 0.8  # of the free memory, that a model's weights may take on a GPU
TOGETHER = 8  # prompts that are answered in one batch
READ_TOGETHER = 4  # conversations that are read in one batch: the logits of all their places are in memory
TOP = 64  # tokens with their log-probabilities at each place: what llama.cpp can tell of 49,152 in a moment
# Settings of a generation config that change what a model answers greedily, each with the value that changes nothing.
CHANGING: dict[str, object] = {
    **dict.fromkeys(("repetition_penalty", "encoder_repetition_penalty", "guidance_scale", "num_beams"), 1),
    **dict.fromkeys(("no_repeat_ngram_size", "min_length", "min_new_tokens"), 0),
    **dict.fromkeys(("bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "sequence_bias", "stop_strings")),
    **dict.fromkeys(("forced_bos_token_id", "forced_eos_token_id", "exponential_decay_length_penalty")),
}


class Form(Protocol):
    """What answers: the model that was judged, or one of its exports."""

    ends: set[int] | None  # its stop tokens; None: it does not tell them
    notes: Sequence[str]  # sentences on how it was asked

    def limit(self, conversation: Conversation) -> str:
        """Return why this form can't be sent a conversation as it is, which its kind never can; empty if it can."""

    def settings(self) -> dict[str, object] | None:
        """Return what of its generation config changes greedy answers; None if it holds no such settings."""

    def prompt(self, messages: list[Message], tools: Tools, thinks: bool | None = None) -> list[int]:
        """Return the token ids that the form makes of messages, up to where its answer begins.

        ``thinks`` is sent as ``enable_thinking``; None: it is not sent, and the template decides.
        """

    def text(self, ids: list[int]) -> str:
        """Return the text of tokens, control tokens included."""

    def answers(self, prompts: list[list[int]], most: int) -> list[list[int]]:
        """Return the greedy answers' tokens, each with the one that ended it if one did, and ``most`` at most."""

    def log_probabilities(self, prompts: list[list[int]], answers: list[list[int]]) -> list[LogProbabilities]:
        """Return the likeliest tokens at each place of answers that somebody else gave."""


class TransformersForm:
    """A model and a tokenizer of transformers. What ends an answer is what its generation config says."""

    notes: Sequence[str] = ()

    def __init__(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase"):
        self._model, self._tokenizer = model, tokenizer
        self.ends: set[int] | None = _ends_of(model.generation_config)

    def take_settings(self, folder: Path) -> None:
        """Take the generation config of an adapter's folder, as whoever reads the note below."""
        from transformers import GenerationConfig

        self._model.generation_config = GenerationConfig.from_pretrained(folder)
        self.ends = _ends_of(self._model.generation_config)
        self.notes = (
            "It ends its turns with a token that its base does not: pass GenerationConfig.from_pretrained(FOLDER) to "
            "generate, or eos_token_id.",
        )

    @classmethod
    def open(cls, folder: Path) -> "TransformersForm":
        """Read a model folder as its users do, onto the GPU if it has room: nothing of établi's own takes part."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        has_room = weights < FREE_SHARE * machine.free_bytes()
        with quiet():
            model = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype="auto",
                use_safetensors=True,
                trust_remote_code=False,
                device_map={"": machine.device() if has_room else "cpu"},
            )
            return cls(model.eval(), AutoTokenizer.from_pretrained(folder, trust_remote_code=False))

    def prompt(self, messages: list[Message], tools: Tools, thinks: bool | None = None) -> list[int]:
        """See ``Form``."""
        settings = {} if thinks is None else {"enable_thinking": thinks}
        ids: list[int] = self._tokenizer.apply_chat_template(
            messages, tools=tools, add_generation_prompt=True, return_dict=False, **settings
        )
        return list(ids)

    def limit(self, conversation: Conversation) -> str:
        """See ``Form``."""
        return ""

    def settings(self) -> dict[str, object] | None:
        """See ``Form``."""
        config = self._model.generation_config
        values = {name: getattr(config, name, None) for name in CHANGING}
        return {name: value for name, value in values.items() if value not in (None, CHANGING[name])}

    def text(self, ids: list[int]) -> str:
        """See ``Form``."""
        return str(self._tokenizer.decode(ids))

    def answers(self, prompts: list[list[int]], most: int) -> list[list[int]]:
        """See ``Form``; prompts of about one length are answered together, as a server does."""
        return self._in_batches(
            prompts, TOGETHER, lambda places: self._answer_batch([prompts[at] for at in places], most)
        )

    def _in_batches(
        self, prompts: list[list[int]], size: int, ask: Callable[[list[int]], list[Result]]
    ) -> list[Result]:
        """Return what ``ask`` returns for the places of each batch, in the prompts' order; each is of one length."""
        if getattr(self._model, "_is_stateful", False):
            size = 1  # a state reads what pads, too
        order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        results = {place: result for places in batches for place, result in zip(places, ask(places))}
        return [results[place] for place in range(len(prompts))]

    def _answer_batch(self, prompts: list[list[int]], most: int) -> list[list[int]]:
        import torch

        ends = self.ends or set()
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts], device=self._model.device)
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        with torch.inference_mode():
            made = self._model.generate(
                ids,
                attention_mask=mask.to(ids.device),
                max_new_tokens=most,
                do_sample=False,
                pad_token_id=0,
                eos_token_id=sorted(ends) or None,
            )
        lines: list[list[int]] = made[:, width:].tolist()
        return [line[: next((at + 1 for at, token in enumerate(line) if token in ends), most)] for line in lines]

    def log_probabilities(self, prompts: list[list[int]], answers: list[list[int]]) -> list[LogProbabilities]:
        """See ``Form``."""
        pairs = list(zip(prompts, answers))
        return self._in_batches(prompts, READ_TOGETHER, lambda places: self._read([pairs[at] for at in places]))

    def _read(self, pairs: list[tuple[list[int], list[int]]]) -> list[LogProbabilities]:
        import torch

        width = max(len(prompt) + len(answer) for prompt, answer in pairs)
        first = min(len(prompt) for prompt, _ in pairs) - 1  # the place whose logits are of the first answer's token
        lines = [[*prompt, *answer] for prompt, answer in pairs]
        ids = torch.tensor([line + [0] * (width - len(line)) for line in lines], device=self._model.device)
        mask = torch.tensor([[1] * len(line) + [0] * (width - len(line)) for line in lines], device=ids.device)
        with torch.inference_mode():
            logits = self._model(input_ids=ids, attention_mask=mask, logits_to_keep=width - first).logits
        starts = [len(prompt) - 1 - first for prompt, _ in pairs]
        return [likeliest(row[start : start + len(answer)]) for row, start, (_, answer) in zip(logits, starts, pairs)]


def _ends_of(config: "GenerationConfig") -> set[int]:
    ends = config.eos_token_id
    return set(ends if isinstance(ends, list) else [] if ends is None else [ends])


class JudgedForm(TransformersForm):
    """The model as it was judged: its prompts are rendered, and its answers ended, as in an evaluation."""

    def __init__(self, loaded: LoadedModel):
        from etabli.rendering.render import Renderer

        super().__init__(loaded.model, loaded.tokenizer)
        self._renderer = Renderer(loaded.tokenizer)
        self.ends = set(generate.stop_ids(loaded.model, loaded.tokenizer))
        self.turn_ends = self._renderer.end_ids

    def prompt(self, messages: list[Message], tools: Tools, thinks: bool | None = None) -> list[int]:
        """See ``Form``; whether it thinks was settled when the model was judged."""
        return self._renderer.render(messages, prompt=True, tools=tools).ids

    def can_ask(self, messages: list[Message], tools: Tools) -> bool:
        """Say whether the model's chat template can write these messages."""
        try:
            self.prompt(messages, tools)
        except BadData:
            return False
        return True

    def is_control_typed(self, messages: list[Message]) -> bool:
        """Say whether a message holds a control token as text: établi reads it as text, other programs may not."""
        control = self._renderer.control
        return control is not None and any(control.search(str(message.get("content") or "")) for message in messages)

    def sent(self, messages: list[Message], tools: Tools) -> list[Message]:
        """Return messages as a user of the model sends them: in the form that its template takes, without our marks."""
        form = self._renderer.layout(messages, tools, prompt=True).form
        kept = ("role", "content", "reasoning", "tool_calls", "tool_call_id", "name")
        own: list[object] = [
            {key: value for key, value in message.items() if key in kept} for message in form.apply(messages)
        ]
        return cast("list[Message]", own)


def likeliest(logits: "torch.Tensor") -> LogProbabilities:
    """Return the ``TOP`` likeliest tokens of each line of logits (places, vocabulary)."""
    best = logits.float().log_softmax(-1).topk(min(TOP, logits.shape[-1]))
    return [dict(zip(tokens, values)) for tokens, values in zip(best.indices.tolist(), best.values.tolist())]

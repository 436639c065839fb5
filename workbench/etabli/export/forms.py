"""An exported form, asked as its users would ask it: with messages, by the form's own template and tokenizer."""

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import httpx

from etabli.core import machine
from etabli.core.contracts import Message
from etabli.core.errors import BadInput, EtabliError, MissingExtra
from etabli.models import generate
from etabli.models.loading import LoadedModel
from etabli.models.quiet import quiet
from etabli.rendering.forms import Form as MessageForm
from etabli.rendering.template_engine import Tools

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TOP = 64  # tokens with their log-probabilities at each place: what llama.cpp can tell of 49,152 in a moment
ANSWER_SECONDS = 600  # that llama.cpp may take for one answer
# Settings of a generation config that change what a model answers greedily.
CHANGING = (
    *("repetition_penalty", "no_repeat_ngram_size", "encoder_repetition_penalty", "bad_words_ids", "suppress_tokens"),
    *("begin_suppress_tokens", "forced_bos_token_id", "forced_eos_token_id", "min_length", "min_new_tokens"),
    *("exponential_decay_length_penalty", "sequence_bias", "guidance_scale", "num_beams", "stop_strings"),
)
LogProbabilities = list[dict[int, float]]  # at each place of an answer, by token, in nats


class Form(Protocol):
    """What answers: the model that was judged, or one of its exports. ``ends`` are its stop tokens; None: not told."""

    ends: set[int] | None

    def settings(self) -> dict[str, object]:
        """Return what of its generation config changes greedy answers."""

    def prompt(self, messages: list[Message], tools: Tools, thinks: bool | None = None) -> list[int]:
        """Return the token ids that the form makes of messages, up to where its answer begins.

        ``thinks`` is sent as ``enable_thinking``; None: it is not sent, and the template decides.
        """

    def text(self, ids: list[int]) -> str:
        """Return the text of tokens, control tokens included."""

    def answer(self, prompt: list[int], most: int) -> list[int]:
        """Return the greedy answer's tokens, with the one that ended it if one did, and ``most`` at most."""

    def log_probabilities(self, prompt: list[int], answer: list[int]) -> LogProbabilities:
        """Return the likeliest tokens at each place of an answer that somebody else gave."""


class TransformersForm:
    """A model and a tokenizer of transformers. What ends an answer is what its generation config says."""

    def __init__(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase"):
        self._model, self._tokenizer = model, tokenizer
        ends = model.generation_config.eos_token_id
        self.ends: set[int] | None = set(ends if isinstance(ends, list) else [] if ends is None else [ends])

    @classmethod
    def open(cls, folder: Path) -> "TransformersForm":
        """Read a model folder as its users do: nothing of établi's own takes part."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        with quiet():
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype="auto", use_safetensors=True, trust_remote_code=False
            )
            return cls(model.eval(), AutoTokenizer.from_pretrained(folder, trust_remote_code=False))

    def prompt(self, messages: list[Message], tools: Tools, thinks: bool | None = None) -> list[int]:
        """See ``Form``."""
        settings = {} if thinks is None else {"enable_thinking": thinks}
        ids: list[int] = self._tokenizer.apply_chat_template(
            messages, tools=tools, add_generation_prompt=True, return_dict=False, **settings
        )
        return list(ids)

    def settings(self) -> dict[str, object]:
        """See ``Form``."""
        config = self._model.generation_config
        return {name: value for name in CHANGING if (value := getattr(config, name, None)) not in (None, 0, 1, 1.0)}

    def text(self, ids: list[int]) -> str:
        """See ``Form``."""
        return str(self._tokenizer.decode(ids))

    def answer(self, prompt: list[int], most: int) -> list[int]:
        """See ``Form``."""
        import torch

        ids = torch.tensor([prompt], device=self._model.device)
        with torch.inference_mode():
            made = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=most,
                do_sample=False,
                pad_token_id=0,
                eos_token_id=sorted(self.ends or ()) or None,
            )
        new_ids: list[int] = made[0, len(prompt) :].tolist()
        return new_ids

    def log_probabilities(self, prompt: list[int], answer: list[int]) -> LogProbabilities:
        """See ``Form``."""
        import torch

        ids = torch.tensor([[*prompt, *answer]], device=self._model.device)
        with torch.inference_mode():
            logits = self._model(input_ids=ids, logits_to_keep=len(answer) + 1).logits[0, :-1]
        return likeliest(logits)


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


class LlamaCppForm:
    """llama.cpp's server on 127.0.0.1, at a port that the system chooses, asked over HTTP."""

    ends: set[int] | None = None

    def __init__(self, server: Any):
        self._server = server  # it ends with this object
        self._url: str = server.listening_address
        self._letter: int = self._post("/tokenize", {"content": "a"})["tokens"][0]

    def settings(self) -> dict[str, object]:
        """See ``Form``; a GGUF holds none."""
        return {}

    def prompt(self, messages: list[Message], tools: Tools, thinks: bool | None = None) -> list[int]:
        """See ``Form``."""
        sent = [
            {"reasoning_content" if key == "reasoning" else key: value for key, value in message.items()}
            for message in MessageForm(arguments_as_text=True).apply(messages)
        ]
        body: dict[str, object] = {"messages": sent}
        if tools:
            body["tools"] = tools
        if thinks is not None:
            body["chat_template_kwargs"] = {"enable_thinking": thinks}
        text = self._post("/apply-template", body)["prompt"]
        ids: list[int] = self._post("/tokenize", {"content": text, "add_special": True, "parse_special": True})[
            "tokens"
        ]
        return ids

    def text(self, ids: list[int]) -> str:
        """See ``Form``."""
        return str(self._post("/detokenize", {"tokens": ids})["content"])

    def answer(self, prompt: list[int], most: int) -> list[int]:
        """See ``Form``."""
        ids: list[int] = self._post("/completion", self._asked(prompt, most) | {"return_tokens": True})["tokens"]
        return ids

    def log_probabilities(self, prompt: list[int], answer: list[int]) -> LogProbabilities:
        """See ``Form``; the server reads one more token at each place and keeps what it has read."""
        return [self._next([*prompt, *answer[:place]]) for place in range(len(answer))]

    def _next(self, ids: list[int]) -> dict[int, float]:
        # What is generated is a letter: of half a character the server tells nothing. The probabilities are without it.
        bias = {"n_probs": TOP, "logit_bias": [[self._letter, 1000.0]]}
        told = self._post("/completion", self._asked(ids, 1) | bias)["completion_probabilities"]
        return {one["id"]: one["logprob"] for one in told[0]["top_logprobs"]}

    def _asked(self, prompt: list[int], most: int) -> dict[str, object]:
        return {
            "prompt": prompt,
            "n_predict": most,
            "temperature": 0,
            "cache_prompt": True,
            "samplers": ["temperature"],
        }

    def _post(self, path: str, body: dict[str, object]) -> dict[str, Any]:
        answer = httpx.post(self._url + path, json=body, timeout=ANSWER_SECONDS)
        if answer.is_error:
            raise EtabliError(f"llama.cpp refuses {path}: {answer.text[:300]}")
        told: dict[str, Any] = answer.json()
        return told


def require_llama_cpp() -> None:
    """Refuse if llama.cpp is not installed.

    Raises:
        MissingExtra: as said.
    """
    if find_spec("xllamacpp") is None:
        raise MissingExtra("Asking a GGUF needs llama.cpp, which is not installed: pip install 'etabli[export]'")


@contextlib.contextmanager
def serve_gguf(file: Path, context: int) -> Iterator[LlamaCppForm]:
    """Serve a GGUF file by llama.cpp while the block runs, with room for ``context`` tokens.

    Raises:
        MissingExtra: xllamacpp is not installed; BadInput: llama.cpp can't open the file.
    """
    require_llama_cpp()
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(file)
    parameters.hostnames, parameters.port = ["127.0.0.1"], 0
    parameters.n_ctx = context
    parameters.n_parallel, parameters.use_jinja, parameters.warmup = 1, True, False
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = machine.threads()
    parameters.verbosity = -1
    try:
        server = xllamacpp.Server(parameters)
    except (RuntimeError, ValueError) as error:
        raise BadInput(f"llama.cpp can't open {file}: {error}") from None
    yield LlamaCppForm(server)

"""A GGUF file asked over llama.cpp's own server, on 127.0.0.1: as llama.cpp's users ask it, and as Ollama's do."""

import contextlib
import math
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from etabli.core import machine
from etabli.core.contracts import Message
from etabli.core.errors import BadInput, EtabliError, MissingExtra
from etabli.core.wording import count_of, first_line
from etabli.exports.divergence import LogProbabilities
from etabli.exports.forms import TOP
from etabli.exports.hard_conversations import Conversation
from etabli.exports.modelfile import MODELFILE, Modelfile, read_modelfile
from etabli.exports.ollama_template import OllamaTemplate
from etabli.rendering.forms import Form as MessageForm
from etabli.rendering.template_engine import Tools

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LEAST = -1e30  # llama.cpp's log of a probability of 0 is the least number of 32 bits
SLOTS = 4  # questions that llama.cpp answers at the same time
Result = TypeVar("Result")
ANSWER_SECONDS = 600  # that llama.cpp may take for one answer


class LlamaCppForm:
    """llama.cpp's server on 127.0.0.1, at a port that the system chooses, asked over HTTP."""

    ends: set[int] | None = None
    notes: Sequence[str] = ()

    def __init__(self, server: Any):
        self._server = server  # it ends with this object
        self.address: str = server.listening_address
        # No connection is kept open: one is suspected, not shown, to have cost a kernel its socket as a server ended.
        no_keeping = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.Client(base_url=self.address, timeout=ANSWER_SECONDS, trust_env=False, limits=no_keeping)
        self._letter: int = self._post("/tokenize", {"content": "a"})["tokens"][0]

    def close(self) -> None:
        """Close the connections to the server, which ends with the last reference to it."""
        self._client.close()

    def limit(self, conversation: Conversation) -> str:
        """See ``Form``."""
        return ""

    def settings(self) -> dict[str, object] | None:
        """See ``Form``; a GGUF holds none."""
        return None

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
        return self._tokenise(self._post("/apply-template", body)["prompt"])

    def _tokenise(self, text: str, is_prompt: bool = True) -> list[int]:
        """Return the tokens of a text; a prompt begins with what the tokenizer writes first."""
        asked: dict[str, object] = {"content": text, "add_special": is_prompt, "parse_special": True}
        ids: list[int] = self._post("/tokenize", asked)["tokens"]
        return ids

    def text(self, ids: list[int]) -> str:
        """See ``Form``."""
        return str(self._post("/detokenize", {"tokens": ids})["content"])

    def answers(self, prompts: list[list[int]], most: int) -> list[list[int]]:
        """See ``Form``."""

        def answer(slot: int, place: int) -> list[int]:
            asked = self._asked(slot, prompts[place], most) | {"return_tokens": True}
            ids: list[int] = self._post("/completion", asked)["tokens"]
            return ids

        return self._in_slots(answer, len(prompts))

    def log_probabilities(self, prompts: list[list[int]], answers: list[list[int]]) -> list[LogProbabilities]:
        """See ``Form``; the server reads one more token at each place and keeps what it has read."""

        def read(slot: int, place: int) -> LogProbabilities:
            prompt, answer = prompts[place], answers[place]
            return [self._next(slot, [*prompt, *answer[:length]]) for length in range(len(answer))]

        return self._in_slots(read, len(prompts))

    def _in_slots(self, ask: Callable[[int, int], Result], count: int) -> list[Result]:
        """Return what ``ask(slot, place)`` returns for each place; the server answers one question a slot at a time."""
        free = queue.SimpleQueue[int]()
        for slot in range(SLOTS):
            free.put(slot)

        def ask_in_free_slot(place: int) -> Result:
            slot = free.get()
            try:
                return ask(slot, place)
            finally:
                free.put(slot)

        with ThreadPoolExecutor(SLOTS) as pool:
            return list(pool.map(ask_in_free_slot, range(count)))

    def _next(self, slot: int, ids: list[int]) -> dict[int, float]:
        # What is generated is a letter: of half a character the server tells nothing. The probabilities are without it.
        bias = {"n_probs": TOP, "logit_bias": [[self._letter, 1000.0]]}
        told = self._post("/completion", self._asked(slot, ids, 1) | bias)["completion_probabilities"]
        values = {one["id"]: one["logprob"] for one in told[0]["top_logprobs"]}
        return {
            token: math.nan if value is None else value
            for token, value in values.items()
            if value is None or value > LEAST
        }

    def _asked(self, slot: int, prompt: list[int], most: int) -> dict[str, object]:
        return {
            "id_slot": slot,
            "prompt": prompt,
            "n_predict": most,
            "temperature": 0,
            "cache_prompt": True,
            "samplers": ["temperature"],
        }

    def _post(self, path: str, body: dict[str, object]) -> dict[str, Any]:
        try:
            answer = self._client.post(path, json=body)
        except httpx.HTTPError as error:
            raise EtabliError(f"llama.cpp does not answer {path}: {first_line(error)}") from None
        if answer.is_error:
            raise EtabliError(f"llama.cpp refuses {path}: {answer.text[:300]}")
        told: dict[str, Any] = answer.json()
        return told


class OllamaForm(LlamaCppForm):
    """A Modelfile's GGUF, asked by llama.cpp with the prompts that its template makes: Ollama itself is not run."""

    notes: Sequence[str] = (
        "Ollama itself was not run: llama.cpp answered, with the prompts of the Modelfile's template.",
    )

    def __init__(self, server: Any, template: OllamaTemplate, modelfile: Modelfile):
        super().__init__(server)
        self._template, self._modelfile = template, modelfile
        stops = [self._tokenise(stop, is_prompt=False) for stop in modelfile.stops]
        self.ends = {ids[0] for ids in stops if len(ids) == 1}

    def limit(self, conversation: Conversation) -> str:
        """See ``Form``."""
        return self._template.limit(conversation)

    def settings(self) -> dict[str, object] | None:
        """See ``Form``: the Modelfile's."""
        return self._modelfile.changing()

    def prompt(self, messages: list[Message], tools: Tools, thinks: bool | None = None) -> list[int]:
        """See ``Form``; whether it thinks is written in the template."""
        return self._tokenise(self._template.texts.compose(messages))


def require_llama_cpp() -> None:
    """Refuse if llama.cpp is not installed.

    Raises:
        MissingExtra: as said.
    """
    if find_spec("xllamacpp") is None:
        raise MissingExtra("Asking a GGUF needs llama.cpp, which is not installed: pip install 'etabli[export]'")


@contextlib.contextmanager
def open_ollama(folder: Path, tokenizer: "PreTrainedTokenizerBase", context: int) -> Iterator[OllamaForm]:
    """Serve a Modelfile's GGUF by llama.cpp while the block runs.

    Raises:
        BadInput: the template in the Modelfile is not the one that this tokenizer's is written as.
    """
    template = OllamaTemplate(tokenizer)
    modelfile = read_modelfile((folder / MODELFILE).read_text(encoding="utf-8"))
    if modelfile.template != template.texts.go_template():
        raise BadInput(f"the template in {folder.name}/{MODELFILE} is not the one that the model was judged with")
    if modelfile.weights != single_gguf(folder).name:
        raise BadInput(f"{folder.name}/{MODELFILE} names {modelfile.weights!r}, which is not the GGUF beside it")
    with contextlib.closing(OllamaForm(_start_server(single_gguf(folder), context), template, modelfile)) as form:
        yield form


def single_gguf(folder: Path) -> Path:
    """Return the GGUF file of a folder.

    Raises:
        BadInput: there is none, or more than one.
    """
    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        raise BadInput(f"{folder} holds {count_of(len(files), 'GGUF file')}; one is needed.")
    return files[0]


@contextlib.contextmanager
def serve_gguf(file: Path, context: int, lora: Path | None = None) -> Iterator[LlamaCppForm]:
    """Serve a GGUF file by llama.cpp while the block runs, with room for ``context`` tokens.

    ``lora`` is an adapter's GGUF, which is put on it.

    Raises:
        MissingExtra: xllamacpp is not installed; BadInput: llama.cpp can't open the file.
    """
    with contextlib.closing(LlamaCppForm(_start_server(file, context, lora))) as form:
        yield form


def _start_server(file: Path, context: int, lora: Path | None = None) -> Any:
    """Return llama.cpp's server of a GGUF file; see ``serve_gguf``."""
    require_llama_cpp()
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(file)
    parameters.hostnames, parameters.port = ["127.0.0.1"], 0
    parameters.n_ctx = context * SLOTS
    parameters.n_parallel, parameters.use_jinja, parameters.warmup = SLOTS, True, False
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = machine.threads()
    parameters.verbosity = -1
    if lora is not None:
        parameters.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(lora), 1.0)]
    try:
        return xllamacpp.Server(parameters)
    except (RuntimeError, ValueError) as error:
        raise BadInput(f"llama.cpp can't open {file}: {error}") from None

"""Teachers: whoever answers requests. An OpenAI-compatible endpoint, a model of this machine, or llama.cpp here."""

import asyncio
import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from etabli.core.contracts import Message
from etabli.core.errors import BadInput, EtabliError, MissingExtra
from etabli.core.wording import first_line
from etabli.synthesis.recipe import TeacherRecipe

KEY, ADDRESS = "OPENAI_API_KEY", "OPENAI_BASE_URL"
SECONDS, RETRIES = 120.0, 6  # of one try; further tries of the client on 408, 409, 429, 5xx and lost connections
REFUSED, CUT = "refused", "cut at max_tokens"
PROMPT_TOKENS = 2048  # that a prompt to a GGUF may have
NO_KEY = "none"  # what a local endpoint without keys is sent


@dataclass(frozen=True)
class Request:
    """A question to a teacher. ``sample`` tells the first answer to it from the second, third …"""

    turns: tuple[tuple[str, str], ...]  # role and content
    max_tokens: int
    temperature: float
    json_schema: str | None = None
    sample: int = 0
    seed: int = 0

    @property
    def messages(self) -> list[Message]:
        """The turns as messages."""
        return [Message(role=role, content=content) for role, content in self.turns]

    def key(self, teacher: str) -> str:
        """Return the hash under which its answer by this teacher is kept."""
        facts = [teacher, self.turns, self.max_tokens, self.temperature, self.json_schema, self.sample, self.seed]
        return hashlib.sha256(json.dumps(facts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Reply:
    """An answer, and the tokens that are paid for it. ``fault``: why it is none; empty if it is one."""

    text: str
    prompt_tokens: int = 0
    answer_tokens: int = 0
    fault: str = ""

    @property
    def is_final(self) -> bool:
        """Whether asking again would bring nothing else."""
        return self.fault in ("", REFUSED, CUT)


class Teacher(Protocol):
    """Whoever answers. ``name`` stands on every row that it makes."""

    name: str

    async def ask(self, request: Request) -> Reply:
        """Return the answer to a request.

        Raises:
            EtabliError: it can't answer any request: a wrong key, an unknown model, no connection.
        """

    async def close(self) -> None:
        """End what it holds open."""


class EndpointTeacher:
    """A model behind an OpenAI-compatible endpoint. The key is the environment's, and stays there."""

    def __init__(self, model: str, address: str | None = None):
        try:
            from openai import AsyncOpenAI
        except ImportError:
            raise MissingExtra(
                "An endpoint needs openai, which is not installed: pip install 'etabli[synth]'"
            ) from None
        address = address or os.environ.get(ADDRESS)
        key = os.environ.get(KEY)
        if not key and not address:
            raise BadInput(f"The teacher {model} has no endpoint: set {KEY}, and {ADDRESS} if it is not OpenAI's own.")
        self.name = model
        self._client = AsyncOpenAI(api_key=key or NO_KEY, base_url=address, timeout=SECONDS, max_retries=RETRIES)

    async def ask(self, request: Request) -> Reply:
        """See ``Teacher``. What is no answer (HTML, no choice, half a stream, a refusal) is a reply with a fault."""
        import openai

        try:
            answer = await self._client.chat.completions.create(**self._body(request))
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise EtabliError(
                f"The endpoint of {self.name} refuses: {first_line(error)[:300]} Check {KEY}, {ADDRESS} and the "
                "model's name. Answers so far are kept; the same command goes on."
            ) from None
        except openai.APITimeoutError:
            return Reply("", fault=f"no answer in {SECONDS:.0f} s")
        except openai.APIConnectionError as error:
            raise EtabliError(
                f"The endpoint of {self.name} does not answer after {RETRIES + 1} tries: {first_line(error)} Answers "
                "so far are kept; the same command goes on."
            ) from None
        except openai.APIStatusError as error:
            return Reply("", fault=f"status {error.status_code}")
        except (openai.APIError, ValueError) as error:  # JSON that ends in the middle
            return Reply("", fault=f"unreadable: {first_line(error)[:100]}")
        return read_answer(answer)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _body(self, request: Request) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.name,
            "messages": request.messages,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed + request.sample,
        }
        if request.json_schema:
            schema = {"name": "answer", "strict": True, "schema": json.loads(request.json_schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body


def read_answer(answer: object) -> Reply:
    """Return an endpoint's answer as a reply; a proxy's HTML page comes as a text, and an error as an empty object."""
    choices = getattr(answer, "choices", None)
    usage = getattr(answer, "usage", None)
    prompt_tokens = int(getattr(usage, "prompt_tokens", 0) or 0)
    answer_tokens = int(getattr(usage, "completion_tokens", 0) or 0)
    if not choices:
        fault = "no JSON of an answer" if isinstance(answer, str) else "no choice"
        return Reply("", prompt_tokens, answer_tokens, fault)
    message, reason = choices[0].message, choices[0].finish_reason
    text = (getattr(message, "content", None) or "").strip()
    fault = ""
    if getattr(message, "refusal", None) or reason == "content_filter":
        fault = REFUSED
    elif reason == "length":
        fault = CUT
    elif not text:
        fault = "empty"
    return Reply(text, prompt_tokens, answer_tokens, fault)


class LocalTeacher:
    """A model of this machine, greedy. Requests that wait are answered together, in our own batches."""

    def __init__(self, model: str):
        from etabli.models.loading import load

        self._loaded = load(model)
        self.name = self._loaded.name
        self._waiting: list[tuple[Request, asyncio.Future[Reply]]] = []

    async def ask(self, request: Request) -> Reply:
        """See ``Teacher``."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        self._waiting.append((request, future))
        if len(self._waiting) == 1:
            loop.call_soon(self._answer_waiting)
        return await future

    async def close(self) -> None:
        """Nothing is open."""

    def _answer_waiting(self) -> None:
        from etabli.models import generate

        waiting, self._waiting = self._waiting, []
        talks = [request.messages for request, _ in waiting]
        most = max(request.max_tokens for request, _ in waiting)
        try:
            answers = generate.answer(self._loaded.model, self._loaded.tokenizer, talks, most)
        except Exception as error:
            for _, future in waiting:
                future.set_exception(error)
            return
        for (_, future), text, ids, is_cut, size in zip(
            waiting, answers.texts, answers.ids, answers.cut, answers.sizes
        ):
            fault = CUT if is_cut else "" if text else "empty"
            future.set_result(Reply(text, size, len(ids), fault))


@contextlib.contextmanager
def open_teacher(recipe: TeacherRecipe) -> Iterator[Teacher]:
    """Yield the teacher of a recipe; llama.cpp serves a GGUF while the block runs.

    Raises:
        BadInput: there is no endpoint, or no such file; MissingExtra: a library is not installed.
    """
    if recipe.endpoint is not None:
        yield EndpointTeacher(recipe.endpoint)
    elif recipe.local is not None:
        yield LocalTeacher(recipe.local)
    else:
        from etabli.exports.llama_cpp import serve_gguf

        file = Path(str(recipe.gguf)).expanduser()
        if not file.is_file():
            raise BadInput(f"There is no GGUF file {file}.")
        context = 2 * recipe.max_tokens + PROMPT_TOKENS
        with serve_gguf(file, context) as served:
            yield EndpointTeacher(file.stem, f"{served.address}/v1")

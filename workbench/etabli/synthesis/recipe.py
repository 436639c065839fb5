"""Recipes of synthesis: which maker, from which seeds, by which teacher, for how much at most."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from etabli.core.config_files import list_mistakes, read_yaml
from etabli.core.errors import BadRecipe


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TeacherRecipe(_Part):
    """Who is asked, and how.

    ``endpoint``: a model of an OpenAI-compatible endpoint, whose address and key are ``OPENAI_BASE_URL`` and
    ``OPENAI_API_KEY`` of the environment. ``local``: a model as ``etabli.load`` names it, greedy, in batches. ``gguf``:
    a file that llama.cpp serves here. One of the three. ``json_schema``: every answer is JSON of this form, which the
    endpoint enforces (``response_format``).
    """

    endpoint: str | None = None
    local: str | None = None
    gguf: str | None = None
    temperature: float = Field(0.7, ge=0, le=2)
    max_tokens: int = Field(512, ge=1)
    json_schema: dict[str, object] | None = None

    @model_validator(mode="after")
    def _check_one(self) -> "TeacherRecipe":
        if sum(name is not None for name in (self.endpoint, self.local, self.gguf)) != 1:
            raise ValueError("name one of endpoint, local and gguf")
        if self.local is not None and (self.temperature or self.json_schema):
            raise ValueError("a local teacher is greedy: set temperature: 0, and no json_schema; a gguf can do both")
        return self


class Prices(_Part):
    """What a million tokens cost, and on which day that was so."""

    input: float = Field(0.0, ge=0)
    output: float = Field(0.0, ge=0)
    currency: str = "USD"
    date: str | None = None


class Budget(_Part):
    """What the whole job may cost at most; no request begins once one of them is reached."""

    money: float | None = Field(None, ge=0)
    tokens: int | None = Field(None, ge=0)
    minutes: float | None = Field(None, gt=0)


class Verifier(_Part):
    """What an answer has to be: JSON of a form, or a text in which a pattern is found. Functions come in Python."""

    json_schema: dict[str, object] | None = None
    pattern: str | None = None


class SynthRecipe(_Part):
    """Everything that decides which rows are made.

    Attributes:
        maker: ``distil`` answers the seeds' questions; ``sample`` answers each ``samples`` times and keeps the first
            answer that the verifier accepts; ``self-instruct`` makes new questions and answers like the seeds.
        seeds: a file or Dataset. count: seeds to answer, or rows to make; by default all seeds.
        rouge: a new question this like another one (ROUGE-L, 0 to 1) is rejected (self-instruct: 0.7).
        demonstrations: rows shown in each prompt of self-instruct, two of three of them seeds.
        system: the system text of each request; by default the seed's own.
        terms: what the teacher's maker says of training on its answers; known for some makers by name.
    """

    maker: Literal["distil", "sample", "self-instruct"]
    seeds: str = Field(min_length=1)
    teacher: TeacherRecipe
    count: int | None = Field(None, ge=1)
    samples: int = Field(4, ge=1)
    verifier: Verifier = Verifier()
    rouge: float = Field(0.7, gt=0, le=1)
    demonstrations: int = Field(3, ge=1)
    system: str | None = None
    prices: Prices = Prices.model_validate({})
    budget: Budget = Budget.model_validate({})
    concurrency: int = Field(8, ge=1, le=512)
    licence: str | None = None
    terms: str | None = None
    seed: int = Field(0, ge=0, lt=2**31)

    def __init__(self, /, **keys: object):
        try:
            super().__init__(**keys)
        except ValidationError as error:
            raise BadRecipe(list_mistakes(error, list(type(self).model_fields))) from None

    @classmethod
    def load(cls, path: str | Path) -> "SynthRecipe":
        """Read a recipe from YAML.

        Raises:
            BadRecipe: all mistakes, each with its key.
        """
        try:
            return cls(**read_yaml(path))
        except BadRecipe as error:
            raise BadRecipe(error.problems, str(path)) from None

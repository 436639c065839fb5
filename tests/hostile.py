"""Read one hostile file, as the package reads it, in a process that has little memory: ``hostile.py READER PATH``.

It prints what came of it: the error's class and text, or what was read.
"""

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from etabli.core import confined, json_lines
from etabli.core.errors import EtabliError

MEMORY = 3 * 2**30


def recipe(path: Path) -> object:
    from etabli.runs.recipe import Recipe

    return Recipe.load(path)


def curation(path: Path) -> object:
    from etabli.curation.recipe import CurationRecipe

    return CurationRecipe.load(path)


def mapping(path: Path) -> object:
    from etabli.data.reading.mappings import read_entry

    return read_entry(path)


def card(path: Path) -> object:
    from etabli.models import facts

    return facts._card(path.parent)


def speed(path: Path) -> object:
    from etabli.checks import speed as measured

    return measured._read_model(path)


def results(path: Path) -> object:
    from etabli.evaluation import rescore

    return rescore.read_results(path)


def manifest(path: Path) -> object:
    from etabli.core import storage

    return storage.verify(path.parent)


def events(path: Path) -> object:

    return len(json_lines.read_lines(path)[0])


def token_diff(path: Path) -> object:
    from etabli.review import token_diff as diffs

    return diffs.read_token_diffs(path)


def answers(path: Path) -> object:
    from etabli.review import answers as items

    return items.read_answers(path)


def votes(path: Path) -> object:
    from etabli.review import votes as cast

    return cast._read_votes(path)


def config(path: Path) -> object:
    from etabli.memory import config

    return config._read_config(path)


def tokenizer(path: Path) -> object:
    from etabli.models.counting import CountingTokenizer

    return CountingTokenizer(path.parent)


def weights(path: Path) -> object:
    from etabli.models import facts

    return facts._parameters(path.parent)


def check(path: Path) -> object:
    from etabli.checks.check import check as look

    report = look(path, model=None)
    return f"{report.rows} rows {dict(report.counts)}"


def template(path: Path) -> object:
    from etabli.rendering import template_engine

    talk = json.loads(path.with_name("talk.json").read_text())
    return len(template_engine.apply_template(Templated(path.read_text()), [template_engine.Conversation(talk)])[0])


class Templated:
    """What a renderer needs of a tokenizer."""

    def __init__(self, text: str):
        self.special_tokens_map: dict[str, str] = {}
        self.chat_template = text


def pattern(path: Path) -> object:
    from etabli.evaluation.scores.registry import load_scores

    (score,) = load_scores(f"regex:{path.read_text()}")
    return score.compute("a" * 100, "", {})


def schema(path: Path) -> object:
    from etabli.evaluation.scores.registry import load_scores

    (score,) = load_scores(f"json_schema:{path}")
    return score.compute(json.dumps("a" * 100), "", {})


READERS: dict[str, Callable[[Path], object]] = {
    reader.__name__: reader
    for reader in (
        recipe,
        curation,
        mapping,
        card,
        speed,
        results,
        manifest,
        events,
        token_diff,
        answers,
        votes,
        config,
        tokenizer,
        weights,
        check,
        template,
        pattern,
        schema,
    )
}

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    if sys.argv[1] in ("template", "pattern", "schema"):
        confined.SECONDS = 1.0  # a fifth of what it is: what takes for ever takes longer than that
    try:
        print("read", str(READERS[sys.argv[1]](Path(sys.argv[2])))[:2000])
    except EtabliError as error:
        print(type(error).__name__, error)

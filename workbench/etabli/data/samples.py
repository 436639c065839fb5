"""Real data sets read from packages at run time; nothing is copied into the repository.

``home_commands`` is the embedded task: a spoken home command, in English or French, to JSON. Sentences are sampled
from the crowd-written templates of the package ``home-assistant-intents`` (Apache-2.0) and labelled by ``hassil``, the
parser those templates were written for.
"""

import dataclasses
import hashlib
import itertools
import json
import random
from collections.abc import Iterator
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING

from etabli.core.contracts import Row
from etabli.core.progress import show_progress

if TYPE_CHECKING:
    from hassil.expression import Sentence
    from hassil.intents import Intent, Intents, SlotList
    from hassil.recognize import RecognizeResult

INSTRUCTION = "Turn the home command into JSON."
# A made-up home. The answer copies its values: a model can learn to copy, a lookup can't.
HOMES: dict[str, dict[str, list[str]]] = {
    "en": {
        "area": ["kitchen", "living room", "bedroom", "garage", "bathroom", "office", "hallway", "nursery"],
        "name": ["desk lamp", "ceiling fan", "front door", "heater", "coffee machine", "tv", "patio light", "speaker"],
        "floor": ["first floor", "ground floor", "basement", "attic"],
    },
    "fr": {
        "area": ["cuisine", "salon", "chambre", "garage", "salle de bain", "buanderie", "couloir", "véranda"],
        "name": ["lampe de chevet", "ventilateur", "porte d'entrée", "radiateur", "cafetière", "télé", "enceinte"],
        "floor": ["premier étage", "rez-de-chaussée", "sous-sol", "grenier"],
    },
}
CUSTOMER_MAILS = "customer-mails"  # the name of the bundled sample
CUSTOMER_MAIL_COLUMNS = {"prompt": "customer_mail", "completion": "our_reply"}  # the format's name -> the file's
ABOUT = {  # what the bundled data are, for the reader of a notebook
    "home-commands": (
        "A spoken home command, in English or French, to JSON. The sentences come from templates that people wrote for "
        "a home assistant; a parser written for those templates gives each its JSON. Narrow, and an answer is either "
        "right or wrong. Some of the French is clumsy: templates combine words that grammar would not."
    ),
    CUSTOMER_MAILS: (
        "80 mails to a bicycle shop, in English and French, with the replies. We made them up, and made them as untidy "
        "as real ones: some faults a check finds, some only a reader."
    ),
}
SENTENCES_PER_TEMPLATE = 400  # of a template's sentences, the first so many are used; some have millions
HELD_OUT = 0.35


def customer_mails() -> Path:
    """Return the path of a messy file to practise on: 80 customer mails in English and French with their replies.

    It has duplicates, column names of its own, a long mail and other faults that a check should find. We wrote it.
    """
    return Path(__file__).with_name("customer_mails.csv")


@show_progress("making home commands")
def home_commands(
    languages: tuple[str, ...] = ("en", "fr"),
    n: int = 600,
    seed: int = 0,
    test: int = 75,
    held_out: float = HELD_OUT,
    per_template: int = 6,
) -> list[Row]:
    """Return labelled home commands, split by template.

    Args:
        languages: language codes among those of ``HOMES``.
        n: training rows per language, at most.
        seed: decides the sentences and which templates are held out.
        test: test rows per language, at most, all from templates no training row comes from.
        held_out: share of the templates kept for the test.
        per_template: at most this many rows from one template.

    Returns:
        Rows with ``split`` (``train`` or ``test``), ``lang`` and ``template``. A text that two templates can produce
        belongs to one of them only, so that no test text is also a training text.

    Raises:
        BadInput: there are no home commands in a language.
    """
    rows: list[Row] = []
    for lang in languages:
        _check_language(lang)
        rng = random.Random(f"{seed}-{lang}")
        by_template = _label_templates(lang, rng, per_template)
        test_names, train_names = _split(sorted(by_template), held_out, rng)
        texts: set[str] = set()
        rows += _take(by_template, test_names, test, "test", lang, texts)
        rows += _take(by_template, train_names, n, "train", lang, texts)
    return rows


def _check_language(lang: str) -> None:
    if lang not in HOMES:
        from etabli.core.errors import BadInput

        raise BadInput(f"No home commands in {lang!r}; there are {len(HOMES)} languages: {', '.join(HOMES)}.")


def _label_templates(lang: str, rng: random.Random, per_template: int) -> dict[str, list[tuple[str, str]]]:
    """Return for each template up to ``per_template`` pairs of (sentence, JSON answer) that hassil can label.

    hassil gets the template's own intent only. With all intents it returns the first that matches,
    and "Qui est ton programmeur" comes back as the state of a person called "ton programmeur".
    """
    from hassil.recognize import recognize

    intents, slots = _grammar(lang)
    tries = per_template + 2  # hassil labels most sentences of a template or none: more tries are of little use
    by_template: dict[str, list[tuple[str, str]]] = {}
    for intent_name, intent in intents.intents.items():
        alone = dataclasses.replace(intents, intents={intent_name: intent})
        for name, sentences in _templates(intents, intent, slots, lang):
            sentences = rng.sample(sentences, min(len(sentences), tries))
            matches = ((text, recognize(text, alone, slot_lists=slots, language=lang)) for text in sentences)
            pairs = ((text, _answer(match)) for text, match in matches if match is not None)
            if labels := list(itertools.islice(pairs, per_template)):
                by_template[name] = labels
    return by_template


def _grammar(lang: str) -> tuple["Intents", dict[str, "SlotList"]]:
    from hassil.intents import Intents, TextSlotList

    path = resources.files("home_assistant_intents") / "data" / f"{lang}.json"
    intents = Intents.from_dict(json.loads(path.read_text(encoding="utf-8")))
    slots = {key: TextSlotList.from_strings(values, name=key) for key, values in HOMES[lang].items()}
    return intents, slots


def _templates(
    intents: "Intents", intent: "Intent", slots: dict[str, "SlotList"], lang: str
) -> Iterator[tuple[str, list[str]]]:
    """Yield each template of an intent as (name, sentences), without open-ended ones (wildcards, number ranges)."""
    from hassil.errors import HassilError

    lists = {**intents.slot_lists, **slots}
    for block, data in enumerate(intent.data):
        rules = {**intents.expansion_rules, **(data.expansion_rules or {})}
        for number, sentence in enumerate(data.sentences):
            try:
                texts = _sentences(sentence, lists, rules, lang)
            except HassilError:  # it needs a list or a rule that this home does not have
                continue
            if texts:
                yield f"{lang}/{intent.name}/{block}/{number}", texts


def _sentences(
    sentence: "Sentence", lists: dict[str, "SlotList"], rules: dict[str, "Sentence"], lang: str
) -> list[str]:
    from hassil.sample import sample_sentence

    texts = sample_sentence(sentence, lists, rules, language=lang, expand_ranges=False)
    sentences = {" ".join(text.split()) for text in itertools.islice(texts, SENTENCES_PER_TEMPLATE)}
    return sorted(text for text in sentences if text and "{" not in text)


def _answer(match: "RecognizeResult") -> str:
    slots = {name: entity.value for name, entity in match.entities.items()}
    return json.dumps({"intent": match.intent.name, "slots": slots}, ensure_ascii=False)


def _split(names: list[str], held_out: float, rng: random.Random) -> tuple[list[str], list[str]]:
    rng.shuffle(names)
    boundary = round(len(names) * held_out)
    return names[:boundary], names[boundary:]


def _take(
    by_template: dict[str, list[tuple[str, str]]],
    names: list[str],
    max_rows: int,
    split: str,
    lang: str,
    texts: set[str],
) -> list[Row]:
    """Return at most ``max_rows`` rows, taken from the templates in turn, one from each in every round."""
    rows: list[Row] = []
    for round_ in range(max((len(by_template[name]) for name in names), default=0)):
        for name in names:
            if round_ < len(by_template[name]) and len(rows) < max_rows:
                text, answer = by_template[name][round_]
                if text.casefold() not in texts:
                    texts.add(text.casefold())
                    rows.append(_row(text, answer, name, split, lang))
    return rows


def _row(text: str, answer: str, template: str, split: str, lang: str) -> Row:
    digest = hashlib.sha256(f"{template}\n{text}".encode()).hexdigest()[:12]
    return {
        "id": f"{lang}-{digest}",
        "messages": [
            {"role": "system", "content": INSTRUCTION},
            {"role": "user", "content": text},
            {"role": "assistant", "content": answer},
        ],
        "lang": lang,
        "source": f"home-assistant-intents=={metadata.version('home-assistant-intents')}",
        "licence": "Apache-2.0",
        "terms": None,
        "parents": [],
        "generator": f"hassil=={metadata.version('hassil')}",
        "created": None,
        "split": split,
        "template": template,
    }

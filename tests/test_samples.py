"""Home commands: split by template, labelled as hassil labels them, the same for the same seed."""

import json

import pytest

from etabli.core.errors import BadInput
from etabli.data import samples
from etabli.data.samples import home_commands


def test_no_template_and_no_text_on_both_sides(commands):
    for lang in ("en", "fr"):
        test, train = commands.part("test", lang), commands.part("train", lang)
        assert len(test) == 12 and len(train) == 60
        assert not {row["template"] for row in test} & {row["template"] for row in train}
        said = [row["messages"][1]["content"].casefold() for row in test + train]
        assert len(set(said)) == len(said)


def test_every_answer_is_what_hassil_says_of_the_templates_intent(commands):
    import dataclasses

    from hassil.recognize import recognize

    for lang in ("en", "fr"):
        intents, slots = samples._grammar(lang)
        for row in commands.part("train", lang)[:15]:
            name = row["template"].split("/")[1]
            alone = dataclasses.replace(intents, intents={name: intents.intents[name]})
            match = recognize(row["messages"][1]["content"], alone, slot_lists=slots, language=lang)
            answer = json.loads(row["messages"][2]["content"])
            assert answer["intent"] == match.intent.name == name
            assert answer["slots"] == {key: entity.value for key, entity in match.entities.items()}


def test_about_a_third_of_the_templates_are_held_out():
    rows = home_commands(languages=("en",), n=10_000, test=10_000, per_template=1)
    test = {row["template"] for row in rows if row["split"] == "test"}
    assert 0.33 <= len(test) / len({row["template"] for row in rows}) <= 0.37


def test_seeds(commands):
    again = home_commands(n=60, test=12, seed=0)
    assert again == commands.rows
    other = home_commands(languages=("en",), n=60, test=12, seed=1)
    assert {row["id"] for row in other} != {row["id"] for row in again if row["lang"] == "en"}


def test_an_unknown_language_is_named():
    with pytest.raises(BadInput, match="'xx'; there are 2"):
        home_commands(languages=("xx",))

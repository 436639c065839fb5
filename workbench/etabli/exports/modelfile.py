"""Ollama's Modelfile: weights, template, stops and the parameters that change greedy answers."""

import json
import re
from dataclasses import dataclass

MODELFILE = "Modelfile"
CONTEXT = 4096  # tokens of a conversation, at least; Ollama cuts longer ones without a word
GREEDY = {"temperature": 0.0, "repeat_penalty": 1.0}  # Ollama's own are 0.8 and 1.1


@dataclass(frozen=True)
class Modelfile:
    """What a Modelfile says."""

    weights: str  # the GGUF's name
    template: str
    stops: list[str]
    parameters: dict[str, float]  # the others

    def changing(self) -> dict[str, object]:
        """Return the parameters that change greedy answers. Of one that is missing Ollama takes a value of its own."""
        values = {name: self.parameters.get(name) for name in GREEDY}
        return {name: value for name, value in values.items() if value != GREEDY[name]}


def write_modelfile(modelfile: Modelfile) -> str:
    """Return the text of a Modelfile."""
    lines = [
        "# As it was judged: the likeliest token each time, and no penalty for words that were there before.",
        f"FROM ./{modelfile.weights}",
        f'TEMPLATE """{modelfile.template}"""',
        *(f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in modelfile.stops),
        *(f"PARAMETER {name} {value:g}" for name, value in modelfile.parameters.items()),
    ]
    return "\n".join(lines) + "\n"


def read_modelfile(text: str) -> Modelfile:
    """Return what a Modelfile says.

    Raises:
        ValueError: a parameter that is no number, or a stop that is no text.
    """
    weights, stops, parameters = "", [], {}
    template = re.search(r'TEMPLATE """(.*?)"""', text, re.DOTALL)
    for line in text.splitlines():
        if line.startswith("FROM "):
            weights = line.removeprefix("FROM ").strip().removeprefix("./")
        elif line.startswith("PARAMETER stop "):
            stops.append(str(json.loads(line.removeprefix("PARAMETER stop "))))
        elif line.startswith("PARAMETER "):
            _, name, value = line.split(maxsplit=2)
            parameters[name] = float(value)
    return Modelfile(weights, template[1] if template else "", stops, parameters)

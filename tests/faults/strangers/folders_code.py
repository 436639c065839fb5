"""Folders that want to be run: rules, callbacks, scores, encoders, pickles, modules, templates."""

import json
import pickle
from pathlib import Path

from strangers.folders import ADAPTER_USERS, MODEL_READERS, edit_json, edit_yaml, hostile, remove, reseal, unfinished


def _recipe(key: str, name: str, *steps: str) -> None:
    @hostile(f"the run's recipe says {key}: {name}", *steps)
    def spoil(folder: Path) -> None:
        unfinished(folder)
        home = folder / "home"
        (home / "run" / "evil.py").write_text((home / "evil.py").read_text())
        edit_yaml(home / "run" / "recipe.yaml", frozen=None, data=str(home / "data"), **{key: name.format(home=home)})


_EVERY = (
    "evaluate",
    "compare",
    "chat PROMPT",
    "arena --prompts",
    "token-diff --again",
    "export",
    "memory",
    "film",
    "runs",
    "widgets",
    "resume",
    "train",
    "lr-range",
    "ablate",
)
for _name in ("{home}/evil.py", "evil.py"):
    for _key in ("rules", "callbacks"):
        _recipe(_key, _name, *_EVERY)


def _score(spec: str) -> None:
    @hostile(
        f"results.json has a score {spec}", "evaluate --from-log", "evaluate --from-log --json", "arena", "widgets"
    )
    def spoil(folder: Path) -> None:
        path = folder / "home" / "run" / "results.json"
        results = json.loads(path.read_text())
        results["metrics"][0]["spec"] = spec.format(home=folder / "home", outside=folder / "outside")
        path.write_text(json.dumps(results))


for _spec in ("{home}/evil.py:evil", "{home}/evil.py", "../home/evil.py:evil", "json_schema:{outside}/secret.json"):
    _score(_spec)


def _slow(spec: str) -> None:
    @hostile(f"results.json has a score {spec} over long answers", "evaluate --from-log")
    def spoil(folder: Path) -> None:
        path = folder / "home" / "run" / "results.json"
        results = json.loads(path.read_text())
        results["metrics"][0] |= {"spec": spec, "name": spec}
        for row in results["rows"]:
            row["answers"] = dict.fromkeys(row["answers"], "a" * 200 + "!")
        path.write_text(json.dumps(results))


_slow("regex:(a+)+$")
_slow("regex:(a|aa)+$")


@hostile("the curation recipe's encoder is a file", "data rows", "data prepare")
def _(folder: Path) -> None:
    recipe = folder / "home" / "curation.yaml"
    edit_yaml(recipe, encoder="evil.py:encode", filters=[{"filter": "semantic"}])


@hostile("the curation recipe has a filter of its own", "data rows", "data prepare", "data decide", "ablate")
def _(folder: Path) -> None:
    edit_yaml(folder / "home" / "curation.yaml", filters=[{"filter": "own", "rules": "evil.py"}])


class _Touch:
    """What a pickle of runs when it is opened."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple:
        import os

        return os.system, (f"touch {self.mark}",)


def _pickled(folder: Path) -> bytes:
    return pickle.dumps(_Touch(folder / "marks" / "pickle"))


@hostile("an adapter of pickles alone", *ADAPTER_USERS, refused=True)
def _(folder: Path) -> None:
    adapter = folder / "home" / "run" / "adapter"
    remove(adapter / "adapter_model.safetensors")
    (adapter / "adapter_model.bin").write_bytes(_pickled(folder))
    reseal(adapter)


@hostile("an adapter of pickles without a manifest", *ADAPTER_USERS, refused=True)
def _(folder: Path) -> None:
    adapter = folder / "home" / "run" / "adapter"
    remove(adapter / "adapter_model.safetensors")
    remove(adapter / "MANIFEST.json")
    (adapter / "adapter_model.bin").write_bytes(_pickled(folder))


@hostile("an adapter with a pickle beside its weights", "export", "export merged", "evaluate")
def _(folder: Path) -> None:
    adapter = folder / "home" / "run" / "adapter"
    (adapter / "adapter_model.bin").write_bytes(_pickled(folder))
    reseal(adapter)


@hostile("checkpoints of pickles", "resume", "export")
def _(folder: Path) -> None:
    unfinished(folder)
    remove(folder / "home" / "run" / "adapter")
    for place in (folder / "home" / "run" / "checkpoints").iterdir():
        for name in ("optimizer.pt", "random.pt", "adapter_model.bin", "training_args.bin"):
            (place / name).write_bytes(_pickled(folder))
        remove(place / "adapter_model.safetensors")
        reseal(place)


@hostile("a model of pickles alone", *MODEL_READERS)
def _(folder: Path) -> None:
    model = folder / "home" / "model"
    remove(model / "model.safetensors")
    (model / "pytorch_model.bin").write_bytes(_pickled(folder))
    (model / "tokenizer.pkl").write_bytes(_pickled(folder))


@hostile("rows that are a pickle", "data check", "data tokens", "data rows", refused=True)
def _(folder: Path) -> None:
    (folder / "home" / "rows.jsonl").write_bytes(_pickled(folder))


_MODULE = "import pathlib\npathlib.Path({mark!r}).touch()\nclass Evil:\n    pass\n"
_AUTO = {
    "AutoConfig": "evil_model.Evil",
    "AutoModelForCausalLM": "evil_model.Evil",
    "AutoTokenizer": ["evil_model.Evil", "evil_model.Evil"],
}


def _model_code(folder: Path) -> Path:
    model = folder / "home" / "model"
    (model / "evil_model.py").write_text(_MODULE.format(mark=str(folder / "marks" / "model")))
    return model


@hostile("a model's configuration has code", *MODEL_READERS)
def _(folder: Path) -> None:
    edit_json(_model_code(folder) / "config.json", auto_map=_AUTO, trust_remote_code=True, model_type="evil")


@hostile("a model's configuration has code, beside a known type", *MODEL_READERS)
def _(folder: Path) -> None:
    edit_json(_model_code(folder) / "config.json", auto_map=_AUTO, trust_remote_code=True)


@hostile("a tokenizer's configuration has code", *MODEL_READERS)
def _(folder: Path) -> None:
    keys = {"auto_map": _AUTO, "trust_remote_code": True, "tokenizer_class": "Evil"}
    edit_json(_model_code(folder) / "tokenizer_config.json", **keys)


@hostile("a model asks for kernels and quantisation from elsewhere", *MODEL_READERS)
def _(folder: Path) -> None:
    model = folder / "home" / "model"
    keys = {"attn_implementation": "stranger/kernels", "_attn_implementation": "stranger/kernels"}
    edit_json(model / "config.json", **keys, quantization_config={"quant_method": "gguf", "x": "stranger/x"})


@hostile("an adapter names modules to import", *ADAPTER_USERS)
def _(folder: Path) -> None:
    config = folder / "home" / "run" / "adapter" / "adapter_config.json"
    (folder / "desk").mkdir(exist_ok=True)
    (folder / "desk" / "evil_peft.py").write_text(_MODULE.format(mark=str(folder / "marks" / "peft")))
    auto = {"base_model_class": "Evil", "parent_library": "evil_peft"}
    edit_json(config, auto_mapping=auto, megatron_config={"x": 1}, megatron_core="evil_peft")


@hostile("an adapter of an odd method", *ADAPTER_USERS)
def _(folder: Path) -> None:
    config = folder / "home" / "run" / "adapter" / "adapter_config.json"
    edit_json(config, peft_type="X_LORA", adapters={"x": str(folder / "outside")}, hidden_size=1)


@hostile("an adapter whose targets are a slow pattern", "evaluate", "chat PROMPT", "export merged")
def _(folder: Path) -> None:
    config = folder / "home" / "run" / "adapter" / "adapter_config.json"
    edit_json(config, target_modules="(([a-z_.0-9])+)+!", rank_pattern={"(([a-z_.0-9])+)+!": 4})

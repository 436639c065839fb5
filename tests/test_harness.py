"""Tasks of lm-eval on the model in memory: its numbers, paired by row, adapter off and on, from local files alone."""

import json

import pytest

from etabli.evaluation import lm_eval, rescore, table
from etabli.evaluation.card import view

pytestmark = pytest.mark.slow

GENERATE = """
task: spoken
dataset_path: json
dataset_kwargs:
  data_files: {test: rows.jsonl}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 4}
metric_list:
  - metric: exact_match
"""
CHOOSE = """
task: chosen
dataset_path: json
dataset_kwargs:
  data_files: {test: rows.jsonl}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: ["yes", "no", "maybe so"]
doc_to_target: "{{answer}}"
metric_list:
  - metric: acc
  - metric: acc_norm
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    rows = [{"question": f"Is {at} even?", "answer": ["yes", "no", "maybe so"][at % 3]} for at in range(9)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "spoken.yaml").write_text(GENERATE)
    (folder / "chosen.yaml").write_text(CHOOSE)
    return folder


def test_choices_equal_a_direct_computation(runs, tasks, no_owner):
    """lm-eval's acc: the choice with the greatest sum of log-probabilities after its own prompt."""
    import torch

    from etabli.models.loading import load
    from etabli.runs.run import Run

    loaded = load(Run.attach(runs / "changed").recipe.model, adapter=runs / "changed" / "adapter")
    results = lm_eval.evaluate_task(runs / "changed", tasks / "chosen.yaml", loaded=loaded)
    assert [metric["name"] for metric in results["metrics"]] == ["acc", "acc_norm"]
    for row in results["rows"]:
        for arm in ("base", "tuned"):
            costs = []
            for choice in ("yes", "no", "maybe so"):
                start = loaded.tokenizer(row["rendered"][arm], add_special_tokens=False)["input_ids"]
                whole = loaded.tokenizer(row["rendered"][arm] + choice, add_special_tokens=False)["input_ids"]
                with loaded.as_base(arm == "base"), torch.no_grad():
                    said = torch.log_softmax(loaded.model(torch.tensor([whole])).logits[0].float(), -1)
                costs.append(-sum(float(said[at - 1, whole[at]]) for at in range(len(start), len(whole))))
            if sorted(costs)[1] - min(costs) > 0.2:  # nearer ones are a matter of rounding in bfloat16
                best = ("yes", "no", "maybe so")[costs.index(min(costs))]
                assert row["answers"][arm] == best
    [both] = [score for score in results["scores"] if score["name"] == "acc"]
    assert both["n"] == 9 and both["differences"][0]["flips"] is not None
    assert (
        rescore.rescore_results(results)[1]["same"]
        and "acc" in table.format_results(results)
        and view(results)["lines"]
    )


def test_generated_answers_without_a_network(runs, tasks, no_owner, monkeypatch):
    import socket

    import datasets
    import huggingface_hub

    for module in (datasets.config, huggingface_hub.constants):  # as a person has them, not as the tests do
        monkeypatch.setattr(module, "HF_HUB_OFFLINE", False)
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: asked.append(args) or socket.gethostbyname(""))
    results = lm_eval.evaluate_task(runs / "changed", tasks / "spoken.yaml", limit=4)
    assert len(results["rows"]) == 4 and results["metrics"][0]["name"] == "exact_match"
    assert any(row["answers"]["base"] != row["answers"]["tuned"] for row in results["rows"])
    assert all("<|im_start|>assistant" in row["rendered"]["tuned"] for row in results["rows"])
    assert not asked, "no name is looked up"


def test_a_broken_task_is_told(runs, tasks, no_owner):
    from etabli.core.errors import BadInput

    (tasks / "hub.yaml").write_text(CHOOSE.replace("dataset_path: json", "dataset_path: someone/theirs"))
    with pytest.raises(BadInput, match="only local json"):
        lm_eval.evaluate_task(runs / "changed", tasks / "hub.yaml")
    (tasks / "broken.yaml").write_text(CHOOSE.replace("rows.jsonl", "nowhere.jsonl"))
    with pytest.raises(BadInput, match=r"lm-eval can't run broken\.yaml"):
        lm_eval.evaluate_task(runs / "changed", tasks / "broken.yaml")

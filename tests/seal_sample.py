"""What a seal of three forms found, without a model: one sealed, one with drift, one broken."""

from typing import Any

FIRST = {"conversation": "system turn", "place": 1, "judged": "<|im_start|>system\nAnswer", "form": "<s>[INST] Answer"}
SEAL: dict[str, Any] = {
    "run": "first",
    "adapter": "0" * 16,
    "sealed_below": 0.01,
    "test_rows": 48,
    "margin": 0.02,
    "forms": [
        {
            "form": name,
            "verdict": verdict,
            "cause": cause,
            "mend": cause and "Export it again.",
            "sentence": f"{name} is {words}",
            "conversations": 55,
            "prompt_same": kl is not None,
            "first_difference": None if kl is not None else FIRST,
            "answers_same": same,
            "answers_close": 2,
            "first_answer": None,
            "kl": kl,
            "largest_change": kl,
            "score": {"value": -0.02, "low": -0.06, "high": 0.01} if kl else None,
            "score_says": "cannot tell" if kl else None,
            "bytes": size,
            "seconds": 12.5,
            "notes": notes,
        }
        for name, verdict, cause, kl, same, size, words, notes in (
            ("merged", "sealed", None, 0.0007, 50, 273_000_000, "sealed: 0.0007 nats a token, 50 of 55 …", []),
            (
                *("gguf:q4_k_m", "drift", "quantisation", 0.0153, 30, 105_000_000),
                *("sealed with drift (quantisation): 0.0153 nats a token", ["It thinks unless it is told otherwise."]),
            ),
            ("ollama:q8_0", "broken", "template differs", None, 0, 145_000_000, "broken: template differs.", []),
        )
    ],
}

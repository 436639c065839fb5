"""The forecast against published peaks of GPUs: of tensors, and of what nvidia-smi showed.

    python benchmarks/published_memory.py [--out FILE]         # about a minute; no GPU

The measurements, where they come from, and which were set aside: ``tests/published_memory.json``.
"""

import argparse
import json
import statistics
from pathlib import Path

PUBLISHED = Path(__file__).parents[1] / "tests" / "published_memory.json"


def main() -> None:
    """Print every point, and the median and the worst of each error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out
    points = compared()
    for point in points:
        off = "  ".join(f"{name} {error:+7.2%}" for name, error in point["errors"].items())
        print(
            f"{point['source']} {point['row']:<32} {point['model']:<12} {point['batch']:>3} {point['split']:<12} {off}"
        )
    others = elsewhere()
    for point in others:
        low, high = point["range"]["low"] / 2**30, point["range"]["high"] / 2**30
        print(f"{point['source']}, {point['seq']} tokens: {point['device'] / 2**30:.2f} GiB; {low:.2f} to {high:.2f}")
    unseen = [point for point in points if point["split"] == "test"]
    said = {
        "tensors": spread(points, "tensors"),
        "tensors, assumption taken back": spread(points, "assumed"),
        "nvidia-smi, not fitted on": spread(unseen, "device"),
        "other projects, within the range": f"{sum(map(is_within, others))} of {len(others)}",
        "other projects, forecast": spread(others, "device"),
    }
    print(json.dumps(said, indent=1))
    if out:
        out.write_text(json.dumps(said | {"points": points, "elsewhere": others}, indent=1) + "\n")


def spread(points: list[dict], kind: str) -> dict:
    """How many, the median and the worst of the errors without their signs."""
    errors = [abs(point["errors"][kind]) for point in points]
    return {"points": len(errors), "median": round(statistics.median(errors), 4), "worst": round(max(errors), 4)}


def compared() -> list[dict]:
    """Every point with its errors: of tensors, of tensors with the assumption taken back, of the device."""
    from etabli.memory import trace_cache

    published = json.loads(PUBLISHED.read_text())
    with trace_cache.shared_worker():
        return [point | {"errors": errors(point, published["shapes"][point["model"]])} for point in published["points"]]


def errors(point: dict, shape: dict) -> dict:
    """Relative, forecast / published - 1."""
    from etabli.memory import Setup, trace_cache
    from etabli.memory.formula import break_down

    setup = Setup(
        4096,
        point["batch"],
        16,
        "q_proj,k_proj,v_proj,o_proj",
        "all",
        "adamw",
        point["loss"],
        "trainer",
        upcast=point["upcast"],
    )
    peak = break_down(trace_cache.load_formulas(shape, [setup]), setup)["peak"]
    otherwise = point.get("assumption", {}).get("bytes", 0)
    return {
        "tensors": peak["allocated"] / point["allocated"] - 1,
        "assumed": (peak["allocated"] + otherwise) / point["allocated"] - 1,
        "device": peak["device"] / (point["device"] * 2**20) - 1,
    }


def elsewhere() -> list[dict]:
    """What other projects published, with the forecast's error and range: upcast or not is not known of them."""
    from etabli.memory import Setup, stock_loop, trace_cache
    from etabli.memory.formula import break_down

    published = json.loads(PUBLISHED.read_text())["elsewhere"]
    found = []
    with trace_cache.shared_worker():
        for point in published["points"]:
            shape = published["shapes"][point["model"]]
            lengths = {"seq": point["seq"], "rank": point["rank"], "optimizer": point["optimizer"]}
            setup = Setup(**lengths, checkpointing="all", loss="full", engine="trainer")
            formulas = trace_cache.load_formulas(shape, [setup])
            error = break_down(formulas, setup)["peak"]["device"] / point["device"] - 1
            spread_of = stock_loop.forecast_range(shape, setup, formulas, [], None)
            found.append(point | {"errors": {"device": error}, "range": spread_of})
    return found


def is_within(point: dict) -> bool:
    """Whether what was published lies in the range."""
    return point["range"]["low"] <= point["device"] <= point["range"]["high"]


if __name__ == "__main__":
    main()

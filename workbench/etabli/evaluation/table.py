"""The results as a table a person reads."""

from etabli.contracts import ARMS, Difference, Estimate, Results
from etabli.evaluation.verdict import sentence


def frame(results: Results):
    """One line a score and slice, one column an arm, as a pandas frame of text."""
    import pandas as pd

    lines = []
    for score in results["scores"]:
        about = {"score": score["name"], "slice": score["slice"], "n": score["n"], "templates": score["clusters"]}
        lines.append(about | {arm: percent(score["arms"][arm]) for arm in ARMS})
    return pd.DataFrame(lines)


def differences(results: Results):
    """One line a score and slice: tuned minus each rival, in points, as a pandas frame of text."""
    import pandas as pd

    lines = []
    for score in results["scores"]:
        gaps = {f"tuned − {gap['minus']}": points(gap) for gap in score["differences"]}
        lines.append({"score": score["name"], "slice": score["slice"], "n": score["n"]} | gaps)
    return pd.DataFrame(lines)


def percent(estimate: Estimate) -> str:
    """80 % [71, 87]."""
    return f"{100 * estimate['value']:.0f} % [{100 * estimate['low']:.0f}, {100 * estimate['high']:.0f}]"


def points(gap: Difference) -> str:
    """+52 [+41, +63]."""
    return f"{100 * gap['value']:+.0f} [{100 * gap['low']:+.0f}, {100 * gap['high']:+.0f}]"


def text(results: Results) -> str:
    """Both tables and the verdict as plain text."""
    head = "Share of test rows, with 95 % intervals clustered by template"
    gaps = "Tuned minus each rival on the same rows, in points, with 95 % intervals"
    said = "\n".join(sentence(part, one) for part, one in results["verdict"].items())
    tables = [frame(results).to_string(index=False), differences(results).to_string(index=False)]
    return f"{head}\n{tables[0]}\n\n{gaps}\n{tables[1]}\n\n{said}"

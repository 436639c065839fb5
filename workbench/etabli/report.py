"""One page a person can send on: the table, the verdict, the loss, and where each comes from."""

import html

from etabli import notebooks
from etabli.contracts import Results
from etabli.evaluation.card import verdict
from etabli.training.run import Run

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 900px; margin: 2rem auto; padding: 0 1rem; color: #1f2328; }
table.dataframe { border-collapse: collapse; margin: 0.5rem 0 1.5rem; }
table.dataframe th, table.dataframe td { border: 0; border-bottom: 1px solid #d5d9de; padding: 4px 12px; }
table.dataframe th, table.dataframe td { text-align: left; }
table.rows { table-layout: fixed; width: 100%; font-size: 13px; }
table.rows td { vertical-align: top; overflow-wrap: anywhere; }
.etabli { max-width: 860px; } figcaption, footer { color: #59636e; font-size: 13px; }
@media (prefers-color-scheme: dark) { body { background: #16181c; color: #e6e8eb; } }
"""


def page(results: Results, run: Run, seconds: float) -> str:
    """The report as one HTML file that needs nothing from elsewhere."""
    from etabli_widgets import RunMonitor
    from etabli_widgets._base import style

    links = " · ".join(f'<a href="{name}.html">{name}</a>' for name in notebooks.TOUR)
    monitor = RunMonitor(events=run.events(), name=run.name)
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>établi: what the tuning did</title>
<style>{STYLE}{style("run_monitor")}{style("verdict_card")}</style>
<h1>What the tuning did</h1>
<p>Square brackets: 95 % intervals, clustered where rows share a template.</p>
<div class="etabli">{verdict(results).html()}</div>
<h2>The run</h2><div class="etabli">{monitor.html()}</div>
<h2>Twelve rows</h2>{_rows(results)}
<footer><p>Model {html.escape(results["model"])} · data {results["data_hash"][:12]} · seed {results["seed"]} ·
{seconds / 60:.1f} minutes for the notebooks: {links}. Every answer is in <a href="results.json">results.json</a>.</p>
</footer></html>
"""


def _rows(results: Results) -> str:
    import pandas as pd

    step = max(1, len(results["rows"]) // 12)
    lines = [
        {"asked": row["prompt"], "truth": row["truth"]}
        | {arm: _mark(row["correct"].get(arm)) + row["answers"][arm][:90] for arm in results["arms"]}
        for row in results["rows"][::step][:12]
    ]
    with pd.option_context("display.max_colwidth", None):
        return pd.DataFrame(lines).to_html(index=False, border=0, escape=True, classes="rows")


def _mark(right: bool | None) -> str:
    return {True: "✓ ", False: "✗ "}.get(right, "")

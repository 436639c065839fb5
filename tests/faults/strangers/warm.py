"""Imports what is slow, once, in the process that all children are forked from."""

import contextlib
import importlib
import os

os.environ |= {"HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

NAMES = """
IPython.lib.lexers
bitsandbytes
datasketch
etabli.app.cli.root
etabli.curation.curation
etabli.curation.map
etabli.curation.table
etabli.curation.threshold
etabli.checks.check
etabli.evaluation.evaluate
etabli.evaluation.card
etabli.runs.plots
etabli.exports.merge
etabli.review.session
etabli.review.chat
etabli.review.probe_history
etabli.review.token_diff
etabli.training.batch_lens
etabli.memory
etabli.models.facts
etabli.models.loading
etabli.app.report
etabli.training.worker
etabli_widgets
huggingface_hub
ipykernel
ipython_pygments_lexers
jsonschema
nbconvert
nbconvert.exporters.html
nbformat
pandas
peft
plotly.graph_objects
plotly.io
plotly.offline
py3langid.langid
pyarrow.pandas_compat
pyarrow.parquet
pygments.lexers.python
sklearn.decomposition
sklearn.feature_extraction.text
sklearn.metrics
statsmodels.api
strangers.watch
torch
transformers
transformers.models.auto.tokenization_auto
transformers.models.llama
wordllama
"""
for name in NAMES.split():
    with contextlib.suppress(ImportError):
        importlib.import_module(name)

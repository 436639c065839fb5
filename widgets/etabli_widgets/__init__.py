"""Widgets for établi's notebooks. Each also works from Python code, and leaves an HTML twin in the notebook."""

from etabli_widgets.blind_arena import BlindArena
from etabli_widgets.chat_compare import ChatCompare
from etabli_widgets.check_report import CheckReport
from etabli_widgets.dataset_table import DatasetTable
from etabli_widgets.mask_lens import MaskLens
from etabli_widgets.memory_ledger import MemoryLedger
from etabli_widgets.round_trip import RoundTrip
from etabli_widgets.run_monitor import RunMonitor
from etabli_widgets.seal_card import SealCard
from etabli_widgets.threshold_pairs import ThresholdPairs
from etabli_widgets.token_diff import TokenDiff
from etabli_widgets.training_film import TrainingFilm
from etabli_widgets.verdict_card import VerdictCard

__all__ = [
    "BlindArena",
    "ChatCompare",
    "CheckReport",
    "DatasetTable",
    "MaskLens",
    "MemoryLedger",
    "RoundTrip",
    "RunMonitor",
    "SealCard",
    "ThresholdPairs",
    "TokenDiff",
    "TrainingFilm",
    "VerdictCard",
]

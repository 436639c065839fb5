"""Widgets for établi's notebooks. Each works from Python alone, and leaves a true HTML twin in the saved notebook."""

from etabli_widgets.chat_compare import ChatCompare
from etabli_widgets.run_monitor import RunMonitor
from etabli_widgets.verdict_card import VerdictCard

__all__ = ["ChatCompare", "RunMonitor", "VerdictCard"]

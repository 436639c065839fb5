"""``etabli synth --json`` and ``receipt.json``."""

from typing import TypedDict


class Synthesis(TypedDict):
    """What a job made, and what it cost. Of a dry run ``requests``, tokens and ``cost`` are what it costs at most."""

    accepted: int
    rejected: dict[str, int]  # by the first reason's filter: reply, verifier, near, length
    requests: int  # replies that were paid for, those of earlier calls too
    asked_now: int  # of them in this call
    prompt_tokens: int
    answer_tokens: int
    cost: float  # in currency
    currency: str
    prices_of: str | None  # the day of the prices
    stopped: str  # the limit that ended it; empty if none did
    dry_run: bool

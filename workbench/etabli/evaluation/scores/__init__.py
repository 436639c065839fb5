"""Scores that a program can verify. ``load_scores`` makes them from names and from functions of your own."""

from etabli.evaluation.scores.registry import builtin_score, default_scores, load_scores
from etabli.evaluation.scores.score import Score

__all__ = ["Score", "builtin_score", "default_scores", "load_scores"]

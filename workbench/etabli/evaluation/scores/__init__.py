"""Scores that can be verified. ``wanted`` turns names and functions of your own into scores."""

from etabli.evaluation.scores.score import Score
from etabli.evaluation.scores.wanted import built_in, default, wanted

__all__ = ["Score", "built_in", "default", "wanted"]

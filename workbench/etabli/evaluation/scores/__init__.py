"""Scores that can be verified. ``wanted`` turns names and functions of your own into scores."""

from etabli.evaluation.scores.score import Score
from etabli.evaluation.scores.wanted import default, wanted

__all__ = ["Score", "default", "wanted"]

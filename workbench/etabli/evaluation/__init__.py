"""Evaluate a tuned model: baselines, scores, paired differences with intervals, and a verdict."""

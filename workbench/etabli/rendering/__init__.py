"""A conversation as a model reads it: chat template, tokens, and what is trained of it."""

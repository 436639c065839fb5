"""Check rows: one module for each kind of problem."""

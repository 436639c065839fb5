"""Rows that a model makes: teachers are asked within a budget, every answer is kept, every row knows its ancestors."""

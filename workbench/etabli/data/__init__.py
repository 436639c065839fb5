"""Rows of conversations: reading them, keeping them, sampling them."""

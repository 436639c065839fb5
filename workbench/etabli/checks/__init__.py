"""What can be wrong with a row, one module a concern, and the catalogue of every code."""

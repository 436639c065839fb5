"""Sources of rows: opened, parsed, their format told, conversations made; what is wrong is noted with its line."""

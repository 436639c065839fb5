"""Each source of rows: opened, parsed, its format told, its conversations made; what is wrong is noted with its line."""

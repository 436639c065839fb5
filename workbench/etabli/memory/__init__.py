"""How much memory a run takes: known before it starts, with the work shown."""

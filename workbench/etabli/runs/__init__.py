"""The run folder, as any process reads it: recipe, launch, events, checkpoints."""

"""Recipe, run folder, detached child: training that outlives the notebook that began it."""

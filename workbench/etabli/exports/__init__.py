"""Export the tuned model: its adapter alone, or merged into its base."""

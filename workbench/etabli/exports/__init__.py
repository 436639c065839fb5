"""Export a tuned model in the forms in which others open it, seal each form, and say in a card what it is."""

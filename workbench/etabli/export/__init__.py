"""Take the tuned model away."""

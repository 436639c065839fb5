"""A name to local weights, what is open about them, and loading in 4 bits."""

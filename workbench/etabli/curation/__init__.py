"""Which rows are trained: filters that say why, people who decide, and a record of both."""

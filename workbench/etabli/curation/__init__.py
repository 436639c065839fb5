"""Choose which rows are trained: filters that give reasons, decisions of people, and a record of both."""

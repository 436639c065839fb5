"""Is it better, by how much, how sure: rivals, scores, paired differences."""

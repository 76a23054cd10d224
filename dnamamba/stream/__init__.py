"""Sequences of any number and length through a model: pieces, batches that cannot leak, both strands, order kept."""

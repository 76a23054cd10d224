"""Embeddings: the features a model makes of sequences, pooled or base by base."""

"""The embedded apes: a seeded species tree on a synthetic ancestor."""

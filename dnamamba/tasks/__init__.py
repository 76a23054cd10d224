"""The synthetic tasks of the Mamba paper: what a model must select, and keep, to answer at all."""

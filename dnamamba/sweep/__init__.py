"""Sweeps: what context, size and selection buy. A sweep is measured on the same target bases throughout.

For one model the upstream is cut at every context (`context_curve`); other sweeps are lists of runs, each a set of
overrides, trained one by one or spread over GPUs (`plan`, `runner`, `carry_out`), then compared (`results`,
`runs_report`).
"""

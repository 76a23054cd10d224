"""Preloaded into each Dask worker of the tests: small blocks, and a trap in which a worker stops until it is killed."""

import os
import time
from pathlib import Path

from dnamamba.pipelines import ingest_source, store_intake
from dnamamba.pipelines.share_pen import SharePen

CHUNK_BITS = 10  # as `store_cases.small_shards` has it

ingest_source.PEEK = 1 << CHUNK_BITS
store_intake.BLOCK = 1 << (CHUNK_BITS + 1)
store_intake.SMALL = 0
_trap = Path(os.environ["DNAMAMBA_TEST_TRAP"])


def _slow_write(self, offset, data, _write=SharePen.write):
    """Write; behind the first shard of the contigs that follow it, the worker that finds the trap armed is caught."""
    _write(self, offset, data)
    if offset > 1 << 15:
        try:
            os.rename(_trap / "armed", _trap / f"caught-{os.getpid()}")
        except FileNotFoundError:
            return
        while not (_trap / "free").exists():
            time.sleep(0.02)


if SharePen.write.__name__ != "_slow_write":  # Dask loads this file more than once
    SharePen.write = _slow_write

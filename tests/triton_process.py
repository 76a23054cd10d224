"""Triton decides at import whether it interprets or compiles, so each of the two gets a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def run_json(script: Path, *, interpret: bool) -> dict[str, Any]:
    """Run a test script and read the one JSON object it prints last; its stderr is shown when it fails."""
    env = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    root = Path(__file__).parent.parent
    env |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(root), env.get("PYTHONPATH", "")])}
    if interpret:
        env["TRITON_INTERPRET"] = "1"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=env, timeout=560)
    if done.returncode:
        raise AssertionError(f"{script.name} failed:\n{done.stderr[-4000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result

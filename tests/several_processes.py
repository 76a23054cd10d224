"""Run a script in several processes that talk to each other."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def run_together(script: Path, world: int, folder: Path, *arguments: str) -> dict[str, Any]:
    """Start `script RANK WORLD FILE ARGUMENT..` `world` times and read the JSON object that rank 0 prints last."""
    root = Path(__file__).parent.parent
    env = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]),
    }
    meet = folder / "meet"
    commands = [[sys.executable, str(script), str(rank), str(world), str(meet), *arguments] for rank in range(world)]
    started = [
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    try:
        answers = [process.communicate(timeout=200) for process in started]
    finally:
        for process in started:
            process.kill()
    failed = [errors for process, (_, errors) in zip(started, answers, strict=True) if process.returncode]
    if failed:
        raise AssertionError("\n".join(errors[-3000:] for errors in failed))
    result: dict[str, Any] = json.loads(answers[0][0].strip().splitlines()[-1])
    return result

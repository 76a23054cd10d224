"""One run of a species sweep in a process of its own: `python -m dnamamba.sweep.species_worker OUT NAME`."""

import json
from pathlib import Path

import torch

from dnamamba.config import read_json
from dnamamba.device import choose_device, peak_memory
from dnamamba.files import write_whole
from dnamamba.species.finetune import CONFIG_FILE, finetune
from dnamamba.sweep.plan import RUNS
from dnamamba.sweep.species_contexts import read_species_plan
from dnamamba.sweep.worker import RESULT, alone, as_process


def tune_one(out: Path, name: str) -> None:
    """Fine-tune and measure one run of the sweep in `out`, or what is left of it.

    Raises:
        InputError: as `finetune`.
    """
    config, folder = read_species_plan(out).runs[name], out / RUNS / name
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        if (folder / RESULT).exists():
            return
        if not (folder / "metrics.json").exists():
            finetune(config, folder, resume=(folder / CONFIG_FILE).exists())
        metrics = read_json(folder / "metrics.json")
        device = choose_device(config.run.device)
        steps = metrics["steps"]  # of the weights that are kept: fewer where the run stopped early
        result = {
            **{key: metrics[key] for key in ("task", "lengths", "bound", "parameters", "seconds")},
            "tokens": steps * config.stages[0].length * config.stages[0].windows,
            "peak_memory": peak_memory(device),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        }
        write_whole(folder / RESULT, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    as_process(tune_one)

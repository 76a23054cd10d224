"""Started by torchrun: prints how many of gloo's threads are left when this process has parted from the others."""

import atexit
import gc
import sys
from pathlib import Path

import torch

from dnamamba.parallel.launch import find_launch, meet
from dnamamba.parallel.processes import Processes


def print_threads(when: str) -> None:
    names = [thread.joinpath("comm").read_text().strip() for thread in Path("/proc/self/task").iterdir()]
    # In one piece: both processes write to one pipe, and print() may write word by word.
    sys.stdout.write(f"{when} {sum('gloo' in name for name in names)}\n")
    sys.stdout.flush()


def main() -> None:
    device = meet(find_launch(), torch.device("cpu"))
    processes = Processes(find_launch(), device, context=2)
    cycle = [processes.relay, processes]  # as an autograd graph or a trainer holds them
    cycle.append(cycle)
    print_threads("together")


gc.disable()  # nobody comes by chance
atexit.register(print_threads, "parted")  # called last
main()

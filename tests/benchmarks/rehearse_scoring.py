"""`dnamamba score` on real variants: killed at random moments and resumed, two processes, a Dask cluster, memory.

    python tests/benchmarks/rehearse_scoring.py --model runs/hg38 --data DATA --out results/ [--context 16k] [--kills 6]

Every way must end with the bytes of the plain run. Prints a table; exit code 1 when one differs.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path


def run(command: list[str], kill_after: float | None = None) -> tuple[int, float, float]:
    """Exit code, seconds, and the most memory that the process held, in MB."""
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if kill_after is not None:
        try:
            child.wait(kill_after)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
    _, status, usage = os.wait4(child.pid, 0) if child.returncode is None else (0, 0, None)
    assert child.stderr is not None
    code = child.returncode if usage is None else os.waitstatus_to_exitcode(status)
    child.returncode = code
    errors = child.stderr.read().strip().splitlines()
    if errors and code in (0, 1):
        print(f"    {errors[-1]}")
    return code, time.monotonic() - began, usage.ru_maxrss / 1024 if usage is not None else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--context", default="16k")
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--variants", default="vcf/z_1Mb.1000G.vcf.gz", help="of DATA")
    parser.add_argument("--reference", default="human/b37.z_1Mb.fa.gz", help="of DATA")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(arguments.seed)

    def command(name: str, *options: str) -> list[str]:
        vcf, fasta = arguments.data / arguments.variants, arguments.data / arguments.reference
        where = [arguments.model, str(vcf), "--reference", str(fasta), "--context", arguments.context]
        return [sys.executable, "-m", "dnamamba", "score", *where, "--out", str(arguments.out / name), *options]

    wrong = 0

    def tell(what: str, name: str, seconds: float, memory: float, more: str = "") -> None:
        nonlocal wrong
        same = (arguments.out / name).read_bytes() == (arguments.out / "plain.vcf.gz").read_bytes()
        wrong += not same
        print(
            f"{what:24} {seconds:7.1f} s  {memory:8,.0f} MB  bytes {'the same' if same else 'DIFFER'}  {more}",
            flush=True,
        )

    code, whole, memory = run(command("plain.vcf.gz"))
    assert code == 0, "the plain run failed"
    tell("plain", "plain.vcf.gz", whole, memory)
    code, seconds, memory = run(command("again.vcf.gz"))
    tell("again", "again.vcf.gz", seconds, memory)
    moments, resume = [], []
    for _ in range(arguments.kills):
        moments.append(rng.uniform(0.3, 0.95) * whole)
        code, _, _ = run(command("killed.vcf.gz", *resume), kill_after=moments[-1])
        if code == 0:
            break
        resume = ["--resume"] if (arguments.out / ".killed.vcf.gz.journal").exists() else []
    if code != 0:
        code, seconds, memory = run(command("killed.vcf.gz", *resume))
    tell(
        "killed and resumed",
        "killed.vcf.gz",
        seconds,
        memory,
        f"SIGKILL after {', '.join(f'{m:.1f}' for m in moments)} s",
    )
    code, seconds, memory = run(command("two.vcf.gz", "--jobs", "2"))
    tell("two processes", "two.vcf.gz", seconds, memory)
    try:
        from distributed import LocalCluster
    except ImportError:
        print("Dask is not installed: no cluster tried")
        return int(wrong > 0)
    with LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None) as there:
        code, seconds, memory = run(command("dask.vcf.gz", "--scheduler", there.scheduler_address))
        tell("Dask, two workers", "dask.vcf.gz", seconds, memory)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

"""Score every real variant file with its reference; what is scored and skipped beside a count by pysam alone.

    python tests/benchmarks/score_real_files.py --model runs/hg38 --data DATA --out results/ [--context 16k] [--jobs 2]

Prints a table in Markdown and keeps the annotated files. Exit code 1 when a count differs.
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from real_vcfs import PAIRS, expected

from dnamamba.config import parse_size
from dnamamba.scoring.plan import ScorerPlan
from dnamamba.scoring.run import Wanted, run_score


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--context", default="16k")
    parser.add_argument("--horizon", default="512")
    parser.add_argument("--only", default="", help="files with this in their names")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    aliases = arguments.out / "mito.chromAlias.txt"
    aliases.write_text("# refseq\tucsc\nNC_012920.1\tchrM\n")
    print("| file | alleles | scored | skipped | as pysam counts | seconds |\n|---|---|---|---|---|---|")
    wrong = 0
    for name, fasta in ((name, fasta) for name, fasta in PAIRS.items() if arguments.only in name):
        plan = ScorerPlan(
            model=arguments.model,
            reference=str(arguments.data / fasta),
            aliases=str(aliases) if fasta.startswith("mito/") else None,
            context=parse_size(arguments.context),
            horizon=parse_size(arguments.horizon),
        )
        out = arguments.out / f"{name.removesuffix('.gz').removesuffix('.vcf')}.scored.vcf.gz"
        began = time.monotonic()
        run_score(plan, str(arguments.data / "vcf" / name), str(out), wanted=Wanted(), jobs=arguments.jobs)
        seconds = time.monotonic() - began
        counts = json.loads(Path(f"{out}.metadata.json").read_text())["counts"]
        ours = +Counter({"scored": counts["scored"], **counts["skipped"]})
        agree = ours == expected(arguments.data / "vcf" / name, arguments.data / fasta)
        wrong += not agree
        skipped = ", ".join(f"{reason} {count:,}" for reason, count in counts["skipped"].items()) or "none"
        scored = f"{counts['alleles']:,} | {counts['scored']:,}"
        print(f"| {name} | {scored} | {skipped} | {'yes' if agree else 'NO'} | {seconds:.1f} |", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

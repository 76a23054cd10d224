"""Tracks on a GPU: the values of the CPU, in float32 and near them in bfloat16; whole contigs by pieces; two GPUs."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from random_models import random_model
from scoring_cases import made_sequence, made_variants, write_fasta

from dnamamba.model_directory import save
from dnamamba.pipelines.reference import open_reference
from dnamamba.pipelines.regions import Region
from dnamamba.scoring.base_track import BaseTrack

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: tracks of two devices are compared"),
]


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    return open_reference(write_fasta(path, c1=made_sequence(30_000, seed=1)))


def _values(model, genome, **options):
    blocks = BaseTrack(model, genome, **options).blocks(Region("c1", 500, 29_000))
    return np.concatenate([values for _, values in blocks])


@pytest.mark.parametrize("context", [4096, None])
def test_a_gpu_gives_the_values_of_the_cpu(genome, context):
    model = random_model(2, d_model=64, n_layers=3)
    slow = _values(model, genome, context=context)
    fast = _values(model.to("cuda"), genome, context=context)
    np.testing.assert_allclose(fast, slow, atol=1e-3)
    pieces = _values(model, genome, context=context, batch_tokens=3000)
    np.testing.assert_allclose(pieces, fast, atol=1e-3)
    half = _values(model, genome, context=context, autocast=torch.bfloat16)
    known = ~np.isnan(fast)
    assert np.corrcoef(half[known], fast[known])[0, 1] > 0.99


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two GPUs: scores of one and two are compared")
def test_two_gpus_give_the_bytes_of_one(genome, tmp_path):
    save(random_model(2, d_model=64, n_layers=3), tmp_path / "model")
    sequence = genome.fetch("c1", 0, 30_000).tobytes().decode()
    lines = [
        f"{v.chrom}\t{v.pos}\t{v.id.replace(' ', '_')}\t{v.ref}\t{v.alt}\t.\t.\t."
        for v in sorted(made_variants(sequence, 9000, 1), key=lambda v: v.pos)
    ]
    (tmp_path / "in.vcf").write_text(
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" + "\n".join(lines) + "\n"
    )
    root = str(Path(__file__).parent.parent.parent)
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    for jobs in ("1", "2"):
        command = [sys.executable, "-m", "dnamamba", "score", "model", "in.vcf", "--reference", genome.path]
        subprocess.run(
            [*command, "--context", "4k", "--jobs", jobs, "--out", f"{jobs}.vcf.gz"],
            check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
    assert (tmp_path / "1.vcf.gz").read_bytes() == (tmp_path / "2.vcf.gz").read_bytes()

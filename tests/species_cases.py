"""Made-up species for the tests of fine-tuning: they differ in what a short window shows."""

import numpy as np

from dnamamba.model import MambaLM, ModelConfig
from dnamamba.model_directory import save

LETTERS = np.frombuffer(b"ACGT", np.uint8)
GC = {"red": 0.2, "green": 0.5, "blue": 0.8}


def composed_dna(length, gc, seed):
    """Independent bases of a GC content, uint8 letters [length]."""
    rng = np.random.default_rng(seed)
    return rng.choice(LETTERS, length, p=[(1 - gc) / 2, gc / 2, gc / 2, (1 - gc) / 2]).astype(np.uint8)


def write_fasta(path, contigs):
    """Contigs (name -> uint8 letters) into a file."""
    path.write_text("".join(f">{name}\n{bases.tobytes().decode()}\n" for name, bases in contigs.items()))
    return path


def labelled_files(folder, length=6000, contigs=4, names=tuple(GC)):
    """A FASTA of each class; CLASS=FILE texts."""
    texts = []
    for i, name in enumerate(names):
        made = {f"chr{c + 1}": composed_dna(length, GC[name], [i, c]) for c in range(contigs)}
        texts.append(f"{name}={write_fasta(folder / f'{name}.fa', made)}")
    return tuple(texts)


def tiny_model(folder, seed=0, extra=None):
    """A directory of an untrained language model."""
    import torch

    torch.manual_seed(seed)
    return save(MambaLM(ModelConfig(d_model=16, n_layers=1)), folder / "language", extra)

"""What the tests of downloads share: data, short patience, one file fetched, and manifests of a toy genome."""

import hashlib
from pathlib import Path
from threading import Event

import numpy as np

from dnamamba.pipelines.fetch_file import fetch_file
from dnamamba.pipelines.fetch_reply import FetchSettings, Surroundings
from dnamamba.pipelines.manifest import SourceFile

DATA = np.random.default_rng(0).integers(0, 256, 3_000_001, np.uint8).tobytes()
OTHER = np.random.default_rng(1).integers(0, 256, 3_000_001, np.uint8).tobytes()
QUICK = FetchSettings(timeout=0.4, tries=5, first_wait=0.002, longest_wait=0.01)
MANIFEST = """\
name: {name}
species: Toy toy
common_name: toy
title: Toy 1
accession: GCA_1
sex: unknown
licence: unknown
files:
  - {{format: 2bit, urls: [{url}.2bit], size: unknown, md5: unknown, md5sums: unknown}}
  - {{format: fasta, urls: [{url}], size: {size}, md5: "{md5}", md5sums: {md5sums}}}
contigs:
  - {{name: chr1, length: 400000, aliases: ["1"], kind: autosome, homolog: hsa1}}
"""


def md5(data):
    return hashlib.md5(data).hexdigest()


def source(*urls, size=None, md5=None, md5sums=None):
    return SourceFile(format="fasta", urls=urls, size=size, md5=md5, md5sums=md5sums)


def get(file, folder, settings=QUICK, progress=None):
    """Fetch one file; gives back what came and the notes."""
    notes = []
    done = fetch_file(file, folder, around=Surroundings(settings, notes.append, Event()), progress=progress)
    return done, notes


def left(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def add_manifest(folder, name, url, data, digest=None, md5sums="unknown"):
    """Into the folder of manifests, one of the genome `name` whose FASTA file is `data` at `url`."""
    folder.mkdir(exist_ok=True)
    text = MANIFEST.format(name=name, url=url, size=len(data), md5=digest or md5(data), md5sums=md5sums)
    (folder / f"{name}.yaml").write_text(text)

"""Classes, controls and parts of a fine-tuning: what is left out, what is held out, what the pretraining has seen."""

import numpy as np
import pytest
from memory_genomes import random_dna
from species_cases import composed_dna, labelled_files, write_fasta

from dnamamba.errors import InputError
from dnamamba.pipelines.ingest import ingest_arrays
from dnamamba.pipelines.splits import SplitConfig, plan_splits
from dnamamba.pipelines.store import open_store
from dnamamba.species.circles import turned
from dnamamba.species.finetune_config import DataConfig
from dnamamba.species.genomes import open_genomes
from dnamamba.species.parts import part_genomes

CONTIGS = SplitConfig(method="contig", valid=("chr3",), test=("chr4",))


def _store(folder, names=("ape_a", "ape_b")):
    for i, name in enumerate(names):
        contigs = [(f"chr{c}", "", composed_dna(3000, 0.4, [i, c])) for c in range(1, 5)]
        contigs += [(c, "", composed_dna(2000, 0.4, [i, len(c)])) for c in ("chrY", "chrM", "chrUn_GL000220v1")]
        ingest_arrays(contigs, folder / "s.zarr", assembly=name)
    return str(folder / "s.zarr")


def test_what_gives_the_label_away_is_left_out(tmp_path):
    store = _store(tmp_path)
    genomes = open_genomes(DataConfig(), (store,))
    assert genomes.classes == ("ape_a", "ape_b")
    assert all(list(a.sizes) == ["chr1", "chr2", "chr3", "chr4"] for a in genomes.assemblies)
    assert genomes.left_out == {kind: {"ape_a": 2000, "ape_b": 2000} for kind in ("Y", "mitochondrion", "unplaced")}
    everything = open_genomes(DataConfig(exclude=()), (store,))
    assert "chrY" in everything.assemblies[0].sizes


def test_classes_of_several_assemblies(tmp_path):
    store = _store(tmp_path, ("a1", "a2", "b", "other"))
    genomes = open_genomes(DataConfig(classes={"a": ("a1", "a2"), "b": ("b",)}), (store,))
    assert genomes.classes == ("a", "b")
    assert [(x.name, label) for x, label in zip(genomes.assemblies, genomes.label, strict=True)] == [
        ("a1", 0), ("a2", 0), ("b", 1),
    ]  # fmt: skip
    with pytest.raises(InputError, match="no assembly 'c' in the stores"):
        open_genomes(DataConfig(classes={"a": ("a1",), "b": ("c",)}), (store,))
    with pytest.raises(InputError, match="two classes or more, got a"):
        open_genomes(DataConfig(classes={"a": ("a1",)}), (store,))


def test_the_pretrainings_split_is_taken_and_kept_to(tmp_path):
    store = _store(tmp_path)
    before = plan_splits([open_store(store)[name] for name in ("ape_a", "ape_b")], CONTIGS).to_json()
    genomes = open_genomes(DataConfig(), (store,))
    parts = part_genomes(genomes, DataConfig(), before)
    assert {r.contig for r in parts.regions["train"]} == {"chr1", "chr2"}
    assert {r.contig for r in parts.regions["test"]} == {"chr4"}
    assert "checked" in parts.notes[-1]
    seen = SplitConfig(method="contig", valid=("chr3",), test=("chr2",))
    with pytest.raises(
        InputError, match=r"ape_a, chr2:1-3,000 is in the test part, and the language model was pretrained"
    ):
        part_genomes(genomes, DataConfig(split=seen), before)
    fewer = SplitConfig(method="contig", valid=("chr3",), test=("chr4",))
    assert "checked" in part_genomes(genomes, DataConfig(split=fewer), before).notes[-1]
    assert "may have seen" in part_genomes(genomes, DataConfig(split=CONTIGS), None).notes[-1]


def test_other_genomes_are_said_to_be_unknown(tmp_path):
    store = _store(tmp_path)
    before = plan_splits([open_store(store)["ape_a"]], CONTIGS).to_json()
    parts = part_genomes(open_genomes(DataConfig(), (store,)), DataConfig(split=CONTIGS), before)
    assert "did not read ape_b under the same fingerprint" in parts.notes[-1]


def test_whole_genes_are_dealt_out(tmp_path):
    files = []
    for i, name in enumerate(("red", "blue")):
        genes = {f"G{g}|{name}": composed_dna(100 + 10 * g + i, 0.5, [i, g]) for g in range(30)}
        files.append(f"{name}={write_fasta(tmp_path / f'{name}.fa', genes)}")
    data = DataConfig(fasta=tuple(files), locus="^[^|]+", whole_loci=True)
    parts = part_genomes(open_genomes(data, ()), data, None)
    genes = {part: {r.contig.split("|")[0] for r in rows} for part, rows in parts.regions.items()}
    assert [len(genes[part]) for part in ("train", "valid", "test")] == [24, 3, 3]
    assert not genes["train"] & genes["test"]
    for rows in parts.regions.values():  # both species' copies of a gene are together
        assert sorted(r.contig.split("|")[0] for r in rows if r.label == 0) == sorted(
            r.contig.split("|")[0] for r in rows if r.label == 1
        )
    with pytest.raises(InputError, match=r"finds nothing in the contig name 'G0\|red'"):
        open_genomes(DataConfig(fasta=tuple(files), locus="ENSG"), ())


def test_circles_hold_out_the_same_arcs_and_individuals(tmp_path):
    circle = random_dna(4000, 5)
    records = {}
    for name, count in (("red", 4), ("blue", 1)):
        made = {}
        for i in range(count):
            one = circle.copy()
            one[np.random.default_rng([i, len(name)]).integers(0, 4000, 40)] = ord("A")
            made[f"{name}{i}"] = turned(one, 700 * i + 13)
        records[name] = f"{name}={write_fasta(tmp_path / f'{name}.fa', made)}"
    data = DataConfig(
        fasta=tuple(records.values()), one_locus=True, individuals=True, circular=True, turn=0.25, exclude=(),
        split=SplitConfig(valid_fraction=0.2, test_fraction=0.3, margin=100),
    )  # fmt: skip
    genomes = open_genomes(data, ())
    parts = part_genomes(genomes, data, None)
    first = genomes.assemblies[0]["red0", slice(0, 4000)]
    for assembly in genomes.assemblies:
        (contig,) = assembly.sizes
        assert (assembly[contig, slice(0, 4000)] == first).mean() > 0.95
    assert {(r.start, r.end) for r in parts.regions["train"]} == {(0, 2000)}
    assert {(r.start, r.end) for r in parts.regions["test"]} == {(2900, 4000)}
    tested = {r.assembly for r in parts.regions["test"] if r.label == 0}
    trained = {r.assembly for r in parts.regions["train"] if r.label == 0}
    assert len(tested) == 1
    assert len(trained) == 3
    assert not tested & trained
    assert {r.assembly for r in parts.regions["test"] if r.label == 1} == {4}


def test_a_class_without_held_out_bases_is_named(tmp_path):
    files = labelled_files(tmp_path, length=500, contigs=2, names=("red", "blue"))
    data = DataConfig(fasta=files, split=SplitConfig(method="contig", test=("chr2",)))
    with pytest.raises(InputError, match="'red' has no bases in the valid part"):
        part_genomes(open_genomes(data, ()), data, None)


def test_bad_files_are_named(tmp_path):
    protein = tmp_path / "p.fa"
    protein.write_text(">x\nMEEPQSDPSV\n")
    with pytest.raises(InputError, match=r"p\.fa.*base 2.*'E'"):
        open_genomes(DataConfig(fasta=(f"a={protein}", f"b={protein}")), ())
    with pytest.raises(InputError, match="want CLASS=FILE"):
        open_genomes(DataConfig(fasta=("x.fa",)), ())


def test_simulated_genomes_are_parted_by_contig(tmp_path):
    for i, name in enumerate(("sim_a", "sim_b")):
        contigs = [(f"chr{c}", "", composed_dna(3000, 0.4, [i, c])) for c in range(1, 5)]
        ingest_arrays(contigs, tmp_path / "s.zarr", assembly=name, simulated=True)
    parts = part_genomes(open_genomes(DataConfig(), (str(tmp_path / "s.zarr"),)), DataConfig(), None)
    assert {r.contig for r in parts.regions["valid"]} == {"chr3"}
    assert {r.contig for r in parts.regions["test"]} == {"chr4"}

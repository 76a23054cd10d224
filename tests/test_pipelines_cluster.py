"""Contigs written in shares by other processes: the bytes of a local ingest."""

import gzip
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from cluster_cases import many_contigs, small_and_dated
from hypothesis import given
from hypothesis import strategies as st
from store_cases import assert_genome, files_of, random_bases, write_fasta

from dnamamba.errors import InputError
from dnamamba.pipelines.bgzip import BgzipWriter
from dnamamba.pipelines.cluster import Cluster
from dnamamba.pipelines.compression import TextPart
from dnamamba.pipelines.export import export
from dnamamba.pipelines.ingest import ingest
from dnamamba.pipelines.ingest_cluster import InOrder
from dnamamba.pipelines.packed_pieces import PieceReader, PieceWriter
from dnamamba.pipelines.packed_writer import LOGS, RunsWriter
from dnamamba.pipelines.share_pen import TOKEN, SharePen, Written
from dnamamba.pipelines.share_tasks import SharedSource, scan, write_share
from dnamamba.pipelines.shares import KnownContig, Share, cut_shares, place_all
from dnamamba.pipelines.store_format import Layout

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def genome():
    return many_contigs()


@pytest.fixture
def small(monkeypatch):
    small_and_dated(monkeypatch)


# Shares


@given(st.lists(st.integers(0, 40), min_size=1, max_size=40), st.booleans())
def test_shares_are_disjoint_and_cover_everything(lengths, whole):
    layout = Layout(1, 8)
    placed = place_all([KnownContig(str(i), "", length) for i, length in enumerate(lengths)], layout)
    shares = cut_shares(placed, layout, whole=whole)
    assert [one for share in shares for one in share.contigs] == placed
    assert all(before.last <= after.first for before, after in pairwise(shares))
    for one in placed:
        owners = [
            number
            for number, share in enumerate(shares)
            if one in share.contigs or (share.tail is one and whole is False)
        ]
        shards = {(one.offset + base) // layout.shard for base in range(one.contig.length)}
        assert shards <= {shard for owner in owners for shard in range(shares[owner].first, shares[owner].last)}
        assert len(owners) == 1 or (one.contig.length <= layout.shard and len(owners) == 2)
    assert len(shares) == 1 or not whole


def test_short_contigs_are_cut_at_every_shard():
    layout = Layout(1, 8)
    placed = place_all([KnownContig(str(i), "", 3) for i in range(80)], layout)
    assert [(share.first, share.last) for share in cut_shares(placed, layout)] == [(i, i + 1) for i in range(30)]


def test_a_part_of_a_text():
    for skip, size, text in ((0, 2, b"ab"), (2, 3, b"cde"), (4, 1, b"e"), (7, None, b"h"), (3, None, b"defgh")):
        assert b"".join(TextPart(0, skip, size).cut(iter((b"abc", b"def", b"gh")))) == text


def test_a_contig_is_finished_when_all_its_shares_are():
    """The second contig ends in the second share: the journal must not have it before."""
    layout, added = Layout(1, 8), []
    placed = place_all([KnownContig(name, "", 5) for name in "abcd"], layout)
    shares = cut_shares(placed, layout)
    assert [[one.contig.name for one in share.contigs] for share in shares] == [["a", "b"], ["c", "d"]]
    for order, steps in (((0, 1), ["a", "abcd"]), ((1, 0), ["", "abcd"])):
        added.clear()
        writer = SimpleNamespace(add=lambda one, *_: added.append(one.name), layout=layout, layout_name="raw")
        journal = InOrder(writer, shares)
        for number, wanted in zip(order, steps, strict=True):
            journal.add(number, Written([(one.contig, None, None) for one in shares[number].contigs], None))
            assert "".join(added) == wanted


# Another process, no cluster


@pytest.mark.parametrize(
    ("kind", "layout"),
    [
        *((kind, "raw") for kind in ("fa", "fa.gz", "gzip", "mixed", "2bit", "crlf")),
        *((kind, "packed") for kind in ("fa", "gzip", "2bit")),
    ],
)
def test_other_processes_give_the_same_bytes(tmp_path, genome, small, kind, layout):
    genome = genome if kind != "2bit" else {name: bases | 0x20 for name, bases in genome.items()}
    source = write_fasta(tmp_path / "toy.fa", {f"{name} of {name}": bases for name, bases in genome.items()})
    if kind == "2bit":
        plain = {name: random_bases(len(bases)).clip(65, 84) for name, bases in genome.items()}
        for bases in plain.values():
            bases[:] = [b"ACGTacgtNn"[value % 10] for value in bases]
        genome = plain
        write_fasta(source, genome)
    if kind in ("fa.gz", "2bit"):
        export(ingest(source, tmp_path / "made"), tmp_path / f"toy.{kind}")
        source = tmp_path / f"toy.{kind}"
    if kind == "gzip":
        source = tmp_path / "toy.fa.gz"
        source.write_bytes(gzip.compress((tmp_path / "toy.fa").read_bytes()))
    if kind == "mixed":  # bgzip, then a member of the other kind, then bgzip
        source, text = tmp_path / "toy.fa.gz", (tmp_path / "toy.fa").read_bytes()
        with source.open("wb") as file:
            for number, piece in enumerate((text[:9_000], text[9_000:50_000], text[50_000:])):
                if number == 1:
                    file.write(gzip.compress(piece))
                else:
                    with BgzipWriter(file) as packed:
                        packed.write(piece)
    if kind == "crlf":
        text = source.read_bytes().replace(b"\n", b"\r\n").replace(b">chr3", b"\r\n;a comment\r\n>chr3")
        source.write_bytes(b"\xef\xbb\xbf\r\n" + text)
    ingest(source, tmp_path / "local", layout=layout)
    with ProcessPoolExecutor(2, FORK) as pool:
        made = ingest(source, tmp_path / "there", cluster=Cluster(pool), layout=layout)
    assert_genome(made, genome)
    assert files_of(tmp_path / "there") == files_of(tmp_path / "local")
    with ProcessPoolExecutor(1, FORK) as pool:
        some = {"exclude": ["chr1", "chr9"], "include": ["chr[1-9]"], "names": "first-word"}
        ingest(source, tmp_path / "some there", cluster=Cluster(pool), jobs=2, layout=layout, **some)
    ingest(source, tmp_path / "some", layout=layout, **some)
    assert files_of(tmp_path / "some there") == files_of(tmp_path / "some")


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), min_size=1, max_size=8), st.integers(1, 9)
)
def test_runs_packed_apart_join_as_if_packed_in_one(parts, size):
    """Contigs of whole and of part chunks, gaps between them, any case at their borders; `size` of them a share."""
    chunk = 1024
    logs, taken = (dict.fromkeys(LOGS, b"") for _ in range(2))
    ours, theirs = RunsWriter(_adder(logs), chunk), RunsWriter(_adder(taken), chunk)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reader, at = PieceReader(folder), 0
        for first in range(0, len(parts), size):
            packer, codes = PieceWriter(folder, chunk), []
            for number, (gap, length, whole) in enumerate(parts[first : first + size]):
                at += gap
                bases = random_bases(length * chunk - (0 if whole or not length else 7), first + number)
                bases[:1] |= 0x20 * (number % 2)
                if len(bases):
                    ours.fill(at)
                    packer.end()
                    codes.append((ours.pack(bases), packer.pack(at * chunk, bases)))
                at += length
            assert all((a == b).all() for a, b in codes)
            reader.add(packer.close())
            reader.give(theirs, 0, at)
    ours.finish_contig()
    theirs.finish_contig()
    assert taken == logs


def _adder(logs):
    def append(name, data):
        logs[name] += data

    return append


def _shared(file: Path, **changes) -> SharedSource:
    plain = {"names": "first-word", "gaps": "error", "unknown": "error", "rna": False}
    return SharedSource(**{"path": str(file), "size": file.stat().st_size, **plain, **changes})


def test_a_worker_that_sees_something_else_refuses(tmp_path, genome):
    source = write_fasta(tmp_path / "toy.fa", genome)
    for changes, words in (
        ({"version": "0.0.1"}, r"has dnamamba .*, 0\.0\.1 is wanted"),
        ({"size": 7}, r"bytes for the worker on .*, 7 where ingest runs"),
        ({"path": str(tmp_path / "none.fa")}, r"cannot open it \(No such file"),
    ):
        with pytest.raises(InputError, match=words):
            scan(_shared(source, **changes), iter)


def test_only_who_holds_the_token_writes(tmp_path):
    """A worker that was taken for dead wakes up when others have begun anew."""
    (tmp_path / "sequence" / "c").mkdir(parents=True)
    pen = SharePen(tmp_path, Layout(1024, 8192), Share(0, 1), "mine")
    for token in (None, "theirs"):
        if token:
            (tmp_path / TOKEN).write_text(token)
        with pytest.raises(InputError, match="does not see the ingest that sent it"):
            pen.write(0, random_bases(10))
        assert list((tmp_path / "sequence" / "c").iterdir()) == []
    (tmp_path / TOKEN).write_text("mine")
    with pen:
        pen.write(8_190, random_bases(10))  # the last eight are another share's
    assert {path.name: path.stat().st_size for path in (tmp_path / "sequence" / "c").iterdir()} == {"0": 8_192}


def test_a_source_that_changes_between_the_passes(tmp_path, genome, small):
    source = write_fasta(tmp_path / "toy.fa", genome)
    found = scan(_shared(source), iter)
    layout = Layout(1024, 8192)
    share = cut_shares(place_all(found.contigs, layout), layout)[0]
    (tmp_path / "sequence" / "c").mkdir(parents=True)
    (tmp_path / TOKEN).write_text("t")
    text = source.read_bytes()
    for new, words in (
        (text.replace(b">chr0", b">CHR0"), "changed while it was read"),
        (text.replace(b">chr0\nA", b">chr0\n-").replace(b">chr0\nC", b">chr0\n-"), "base 1"),
        (b">chr0\n\n" + text[7:], r"bases came, 20,000 were announced"),
    ):
        assert len(new) == len(text)
        source.write_bytes(new)
        if new == text:
            continue
        with pytest.raises(InputError, match=words):
            write_share(_shared(source), share, layout, str(tmp_path), "t", whole=False, jobs=1)

"""Digests against published values: the GA4GH specification, the SAM M5 of hg38's chrM, NCBI's phiX174."""

import hashlib

import numpy as np
import pytest

from dnamamba.pipelines.digests import SequenceDigester, crc32c, fingerprint, sha512t24u
from dnamamba.pipelines.sources import open_source

# M5 of hg38's chrM as the headers of GRCh38 BAM and CRAM files carry it; MD5 of NCBI's NC_001422.1.
PUBLISHED = {
    "mito/human.fa": ("NC_012920.1", "c68f52674c9fb33aef52dcf399755519"),
    "other/phiX174.NC_001422.fa": ("NC_001422.1", "3332ed720ac7eaa9b3655c06f6b9e196"),
}


def _digests(*blocks):
    digester = SequenceDigester()
    for block in blocks:
        digester.update(np.frombuffer(block, np.uint8))
    return digester.refget, digester.md5


def test_examples_of_the_ga4gh_specification():
    assert sha512t24u(b"") == "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXc"
    assert sha512t24u(b"ACGT") == "aKF498dAxcJAqme6QYQ7EZ07-fiw8Kw2"
    assert _digests(b"ACGT") == ("SQ.aKF498dAxcJAqme6QYQ7EZ07-fiw8Kw2", "f1f8f4bf413b16ad135722aa4591043e")


def test_case_is_folded_and_blocks_do_not_matter():
    whole = b"ACGTNNRYSWKMBDHVacgtnnryswkmbdhv"
    assert _digests(whole[:5], whole[5:6], b"", whole[6:]) == _digests(whole.upper())
    assert _digests(whole)[1] == hashlib.md5(whole.upper()).hexdigest()


def test_updates_in_turn_are_the_same_as_both_at_once():
    upper = np.frombuffer(b"ACGTNACGT", np.uint8)
    digester = SequenceDigester()
    digester.update_md5(upper)
    digester.update_refget(upper)
    assert (digester.refget, digester.md5) == _digests(b"ACGTNACGT")


def test_crc32c_of_rfc_3720():
    # RFC 3720, B.4: 32 bytes of zeros, of ones, and rising.
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(np.arange(32, dtype=np.uint8)) == 0x46DD794E


def test_fingerprint_depends_on_content_alone():
    assert fingerprint(["SQ.b", "SQ.a"]) == fingerprint(["SQ.a", "SQ.b"]) == sha512t24u(b"SQ.a\nSQ.b")
    assert fingerprint(["SQ.a", "SQ.a"]) != fingerprint(["SQ.a"])


@pytest.mark.parametrize("file", PUBLISHED)
def test_published_md5_of_real_sequences(file, real_data):
    contigs = open_source(real_data / file).contigs()
    contig = next(contigs)
    assert (contig.name, _digests(*contig.blocks())[1]) == PUBLISHED[file]

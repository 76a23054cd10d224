"""Fetch from a server that drops, stalls, lies and changes its files: the right bytes, or a sentence."""

import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from email.utils import formatdate
from pathlib import Path
from threading import Event, Timer
from types import SimpleNamespace

import numpy as np
import pytest
from faulty_server import (
    FaultyServer,
    drop,
    endless,
    ignore_range,
    lie,
    stall,
    status,
    trickle,
    unannounced,
)

from dnamamba.errors import InputError
from dnamamba.pipelines import fetch_part
from dnamamba.pipelines.fetch import fetch, wanted_file
from dnamamba.pipelines.fetch_address import check_url, url_file_name, url_label
from dnamamba.pipelines.fetch_checksums import listed_md5
from dnamamba.pipelines.fetch_file import fetch_file
from dnamamba.pipelines.fetch_reply import FetchSettings, Surroundings
from dnamamba.pipelines.manifest import SourceFile

DATA = np.random.default_rng(0).integers(0, 256, 3_000_001, np.uint8).tobytes()
OTHER = np.random.default_rng(1).integers(0, 256, 3_000_001, np.uint8).tobytes()
QUICK = FetchSettings(timeout=0.4, tries=5, first_wait=0.002, longest_wait=0.01)


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with FaultyServer() as server:
        yield server


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


# How a download goes on: faults in the order of the requests -> where each request starts.
SURVIVED = {
    "dropped": ([drop(1_000_000)], [None, "bytes=1000000-"]),
    "dropped twice": ([drop(1_000_000), drop(10)], [None, "bytes=1000000-", "bytes=1000010-"]),
    "dropped before the first byte": ([drop(0)], [None, None]),
    "stalled": ([stall(500_000)], [None, "bytes=500000-"]),
    "trickling": ([trickle(3.0)], [None, r"bytes=\d+-"]),
    "500 and 503": ([status(500), status(503, Retry_After=0)], [None, None, None]),
    "429 with a date": ([status(429, Retry_After=formatdate(usegmt=True))], [None, None]),
    "Range ignored": ([drop(1_000_000), ignore_range], [None, "bytes=1000000-"]),
    "another part than asked for": (
        [drop(1_000_000), lie(Content_Range=f"bytes 0-{len(DATA) - 1}/{len(DATA)}")],
        [None, "bytes=1000000-", None],
    ),
    "a part from elsewhere, of the right length": (
        [drop(1_000_000), lie(Content_Range=f"bytes 5-2000005/{len(DATA)}")],
        [None, "bytes=1000000-", None],
    ),
    "a part longer than it says": (
        [drop(1_000_000), lie(Content_Range=f"bytes 1000000-1000009/{len(DATA)}")],
        [None, "bytes=1000000-", None],
    ),
    "a part of a larger file": (
        [drop(1_000_000), lie(Content_Range=f"bytes 1000000-{len(DATA) - 1}/{len(DATA) + 7}")],
        [None, "bytes=1000000-", None],
    ),
    "a part without its place": ([drop(1_000_000), lie(Content_Range=None)], [None, "bytes=1000000-", None]),
    "416": ([drop(1_000_000), status(416)], [None, "bytes=1000000-", None]),
    "chunked, broken off": ([unannounced(1_000_000)], [None, "bytes=1000000-"]),
    "length is no number": ([drop(5), lie(Content_Range="bytes five-six/7")], [None, "bytes=5-", None]),
}


@pytest.mark.parametrize("case", SURVIVED)
@pytest.mark.parametrize("vouched", [True, False], ids=["md5 known", "md5 unknown"])
def test_what_a_download_survives(server, tmp_path, case, vouched):
    faults, ranges = SURVIVED[case]
    file = source(server.put("g.fa", DATA, *faults), md5=md5(DATA) if vouched else None)
    done, notes = get(file, tmp_path)
    assert done.path.read_bytes() == DATA
    assert (done.size, done.md5, done.url) == (len(DATA), md5(DATA), file.urls[0])
    asked = server.ranges("g.fa")
    assert len(asked) == len(ranges)
    assert all(re.fullmatch(want or "None", str(got)) for got, want in zip(asked, ranges, strict=True)), asked
    assert left(tmp_path) == ["g.fa"]
    assert any("nothing can be verified" in note for note in notes) != vouched


def test_a_trickle_is_a_stall(server, tmp_path):
    _, notes = get(source(server.put("g.fa", DATA, trickle(3.0)), md5=md5(DATA)), tmp_path)
    assert len(notes) == 1
    assert re.search(r"stalled: \d bytes came in", notes[0])


def test_a_changed_file_is_not_glued(server, tmp_path):
    url = server.put("g.fa", DATA)

    def change(x):
        drop(1_000_000)(x)
        server.files["g.fa"] = OTHER  # as long as the old one: its length tells nothing

    server.script["g.fa"] = [change]
    done, _ = get(source(url), tmp_path)
    assert done.path.read_bytes() == OTHER
    assert server.headers[1]["If-Range"] == f'"{md5(DATA)}"'


def test_a_server_without_if_range_that_changed_is_seen_by_its_tag(server, tmp_path):
    url = server.put("g.fa", DATA)

    def change(x):
        drop(1_000_000)(x)
        server.files["g.fa"] = OTHER

    def careless(x):
        x.start = int(x.range.removeprefix("bytes=").rstrip("-"))
        x.head()
        x.body()

    server.script["g.fa"] = [change, careless]
    assert get(source(url), tmp_path)[0].path.read_bytes() == OTHER
    assert server.ranges("g.fa") == [None, "bytes=1000000-", None]


def test_without_validators_nothing_is_glued_unless_a_checksum_vouches(server, tmp_path):
    server.etags = False
    get(source(server.put("g.fa", DATA, drop(1_000_000))), tmp_path)
    assert server.ranges("g.fa") == [None, None]
    get(source(server.put("h.fa", DATA, drop(1_000_000)), md5=md5(DATA)), tmp_path)
    assert server.ranges("h.fa") == [None, "bytes=1000000-"]
    server.modified = "Mon, 05 Jan 2026 10:00:00 GMT"  # a date does as well
    server.etags = False
    url = server.put("i.fa", DATA, drop(1_000_000), ignore_range)
    assert get(source(url), tmp_path)[0].path.read_bytes() == DATA
    assert server.headers[-1]["If-Range"] == server.modified


def test_a_wrong_file_goes_to_the_next_mirror_with_both_digests(server, tmp_path):
    bad, good = server.put("a/g.fa", OTHER), server.put("b/g.fa", DATA)
    done, notes = get(source(bad, good, md5=md5(DATA), size=len(DATA)), tmp_path)
    assert (done.path.read_bytes(), done.url, done.checked) == (DATA, good, ("size", "MD5 of the manifest"))
    assert any(md5(OTHER) in note and md5(DATA) in note and "next mirror" in note for note in notes)
    with pytest.raises(InputError, match=f"{md5(OTHER)}.*{md5(DATA)} is wanted"):
        get(source(bad, md5=md5(DATA)), tmp_path / "alone")
    assert left(tmp_path / "alone") == []


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (status(404), "answers 404"),
        (status(403), "answers 403"),
        (status(503, Retry_After=3600), r"answers 503 .* asks to come back in 3,600 s"),
        (status(302, Location="file:///etc/passwd"), "redirects to 'file:///etc/passwd'; only http and https"),
        (status(302, Location="ftp://127.0.0.1/g.fa"), "redirects to 'ftp://"),
        (status(204), "answers 204"),
        (lie(Content_Length="-5"), "Content-Length '-5', which is no number"),
        (lie(Content_Length="1e9"), "Content-Length '1e9'"),
    ],
)
def test_a_mirror_that_will_not_serve_is_left_at_once(server, tmp_path, fault, message):
    bad, good = server.put("a/g.fa", DATA, fault), server.put("b/g.fa", DATA)
    done, notes = get(source(bad, good, md5=md5(DATA)), tmp_path)
    assert done.url == good
    assert len(server.ranges("a/g.fa")) == 1
    assert len(notes) == 1
    assert re.search(message, notes[0])


def test_patience_ends_and_every_mirror_is_named(server, tmp_path):
    one, two = server.put("a/g.fa", DATA, *[status(500)] * 9), server.put("b/g.fa", DATA, *[drop(0)] * 9)
    with pytest.raises(InputError, match=r"a/g.fa: answers 500 .*5 tries; .*b/g.fa: the connection ended after 0 of"):
        get(source(one, two, size=len(DATA)), tmp_path)
    assert [len(server.ranges(f"{m}/g.fa")) for m in "ab"] == [5, 5]
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(InputError, match="cannot be reached"):
            get(source(f"http://127.0.0.1:{closed.getsockname()[1]}/g.fa"), tmp_path)


def test_what_came_from_one_mirror_is_gone_on_with_at_the_next_when_a_checksum_vouches(server, tmp_path):
    one, two = server.put("a/g.fa", DATA, drop(2_000_000), *[status(500)] * 9), server.put("b/g.fa", DATA)
    server.etags = False
    assert get(source(one, two, md5=md5(DATA)), tmp_path / "x")[0].path.read_bytes() == DATA
    assert server.ranges("b/g.fa") == ["bytes=2000000-"]
    # The first one sent another file: the mixture is seen, and the second begun again.
    one = server.put("a/g.fa", OTHER, drop(2_000_000), *[status(500)] * 9)
    done, notes = get(source(one, two, md5=md5(DATA)), tmp_path / "y")
    assert done.path.read_bytes() == DATA
    assert server.ranges("b/g.fa")[1:] == ["bytes=2000000-", None]
    assert any("begun again" in note for note in notes)
    # Nothing vouches: no bytes of two mirrors in one file.
    one = server.put("a/g.fa", OTHER, drop(2_000_000), *[status(500)] * 9)
    assert get(source(one, two), tmp_path / "z")[0].path.read_bytes() == DATA
    assert server.ranges("b/g.fa")[3:] == [None]


def test_a_wrong_content_length(server, tmp_path):
    for length in (len(DATA) + 5, 1_000):
        faults = [lie(Content_Length=length)] * 20
        with pytest.raises(InputError, match=f"has a file of {length:,} bytes, and 3,000,001 are wanted"):
            get(source(server.put("g.fa", DATA, *faults), size=len(DATA)), tmp_path)
    url = server.put("h.fa", DATA, *[lie(Content_Length=len(DATA) + 5)] * 20)
    with pytest.raises(InputError, match="given up after 5 tries"):
        get(source(url), tmp_path)
    url = server.put("h.fa", DATA, *[lie(Content_Length=1_000)] * 20)
    with pytest.raises(InputError, match=f"{md5(DATA[:1_000])}, and {md5(DATA)} is wanted"):
        get(source(url, md5=md5(DATA)), tmp_path)
    assert not any(path.suffix == ".fa" for path in tmp_path.iterdir())


def test_the_size_of_the_manifest_is_held_against_the_file(server, tmp_path):
    url = server.put("g.fa", DATA)
    with pytest.raises(InputError, match="has a file of 3,000,001 bytes, and 7 are wanted"):
        get(source(url, size=7), tmp_path)
    url = server.put("h.fa", DATA, *[unannounced()] * 9)
    with pytest.raises(InputError, match="sends more than the 7 bytes that are wanted"):
        get(source(url, size=7), tmp_path)
    url = server.put("i.fa", DATA, *[unannounced()] * 9)
    with pytest.raises(InputError, match="the connection ended after 3,000,001 of 3,000,009 bytes"):
        get(source(url, size=len(DATA) + 8), tmp_path)
    assert not (tmp_path / "h.fa").exists()


def test_endless_data_stop_at_the_size_or_while_there_is_room(server, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="sends more than the 100,000 bytes"):
        get(source(server.put("g.fa", DATA, endless), size=100_000), tmp_path)
    looks = []

    def nearly_full(path):
        looks.append(path)
        return SimpleNamespace(free=fetch_part.RESERVE - 1 if len(looks) > 2 else 2**40)

    monkeypatch.setattr(shutil, "disk_usage", nearly_full)
    with pytest.raises(InputError, match=r"does not say how large the file is; \d\d,\d{3},\d{3} bytes came, and"):
        get(source(server.put("h.fa", DATA, endless)), tmp_path)


def test_a_file_that_will_not_fit_is_not_begun(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000))
    with pytest.raises(InputError, match="3,000,001 bytes are still to come, and this disk has 1,000 left"):
        get(source(server.put("g.fa", DATA)), tmp_path)


def test_a_full_disk_keeps_what_came(server, tmp_path, monkeypatch):
    real, calls = os.pwrite, []

    def full(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return real(*arguments)

    url = server.put("g.fa", DATA)
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(InputError, match="no space left on this disk; make room and run again"):
        get(source(url), tmp_path)
    monkeypatch.undo()
    came = (tmp_path / "g.fa.part").stat().st_size
    assert came > 0
    get(source(url), tmp_path)
    assert server.ranges("g.fa") == [None, f"bytes={came}-"]


def test_the_publishers_list_decides_when_the_manifest_knows_nothing(server, tmp_path):
    sums = server.put("md5sum.txt", f"{md5(OTHER)}  x.fa\n{md5(DATA)} *./g.fa\n".encode())
    bad, good = server.put("a/g.fa", OTHER), server.put("b/g.fa", DATA)
    done, _ = get(source(bad, good, md5sums=sums), tmp_path)
    assert (done.url, done.checked) == (good, (f"MD5 of {sums}",))
    # No list, or one without the file: said aloud.
    for url, reason in ((f"{server.url}/none.txt", "answers 404"), (good, "does not list g.fa")):
        done, notes = get(source(good, size=len(DATA), md5sums=url), tmp_path / reason[:4])
        assert done.checked == ("size",)
        assert len(notes) == 1
        assert notes[0].startswith("g.fa: no checksum is known of it")
        assert reason in notes[0]


def test_lines_of_md5sum():
    digest = "0123456789abcdef" * 2
    for line in (f"{digest}  g.fa", f"{digest.upper()} *g.fa", f"  {digest}\t./x/g.fa\r"):
        assert listed_md5(f"# md5\n{'1' * 32}  gg.fa\n{line}\n", ["g.fa"]) == digest
    for text in ("", f"{digest}  g.fa.gz", f"{digest[1:]}  g.fa", f"{digest}  g.fa\n{'1' * 32}  g.fa"):
        assert listed_md5(text, ["g.fa"]) is None


def test_a_file_that_is_there_is_verified_and_left_alone(server, tmp_path):
    url = server.put("g.fa", DATA)
    get(source(url, md5=md5(DATA)), tmp_path)
    done, _ = get(source(url, md5=md5(DATA), size=len(DATA)), tmp_path)
    assert (done.url, done.md5) == ("", md5(DATA))
    assert len(server.requests) == 1
    for wanted in ({"md5": md5(OTHER)}, {"size": 5}):
        with pytest.raises(InputError, match=r"g.fa: is there already with .* wanted; move it away"):
            get(source(url, **wanted), tmp_path)
    assert (tmp_path / "g.fa").read_bytes() == DATA


@pytest.mark.parametrize("damage", ["bytes", "state", "longer", "state of another server"])
def test_what_waits_is_not_believed(server, tmp_path, damage):
    """The bytes of a part were changed, or what stands beside it: the right file all the same."""
    url = server.put("g.fa", DATA, drop(1_000_000), *[status(404)])
    with pytest.raises(InputError, match=r"1,000,000 bytes are kept for the next try"):
        get(source(url, md5=md5(DATA)), tmp_path)
    part, state = tmp_path / "g.fa.part", tmp_path / "g.fa.part.json"
    if damage == "bytes":
        part.write_bytes(bytes(1_000_000))
    elif damage == "longer":
        part.write_bytes(bytes(4_000_000))
    elif damage == "state":
        state.write_bytes(b'{"origin": 7, "etag": []}')
    else:
        state.write_text(state.read_text().replace("127.0.0.1", "elsewhere"))
    done, _ = get(source(url, md5=md5(DATA)), tmp_path)
    assert done.path.read_bytes() == DATA
    assert left(tmp_path) == ["g.fa"]


def test_a_part_that_was_whole_when_the_kill_came_is_not_fetched_again(server, tmp_path, monkeypatch):
    url = server.put("g.fa", DATA)
    monkeypatch.setattr(fetch_part.PartFile, "finish", lambda part: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        get(source(url), tmp_path)
    monkeypatch.undo()
    assert get(source(url), tmp_path)[0].path.read_bytes() == DATA
    assert len(server.requests) == 1


def test_a_second_process_does_not_write_the_same_part(server, tmp_path):
    url = server.put("g.fa", DATA)
    with (
        fetch_part.PartFile(tmp_path / "g.fa"),
        pytest.raises(InputError, match="another process fetches this file"),
    ):
        get(source(url), tmp_path)


def test_proxies_are_honoured(server, tmp_path, monkeypatch):
    server.put("g.fa", DATA)
    monkeypatch.setenv("http_proxy", server.url)
    get(source("http://genomes.invalid/g.fa", md5=md5(DATA)), tmp_path)
    assert server.headers[0]["Host"] == "genomes.invalid"
    monkeypatch.setenv("no_proxy", "genomes.invalid")
    with pytest.raises(InputError, match=r"no host of this name|cannot be reached"):
        get(source("http://genomes.invalid/g.fa"), tmp_path / "x")


def test_redirections_within_http_are_followed_with_the_range(server, tmp_path):
    server.put("real.fa", DATA, drop(1_000_000))
    to = status(302, Location=f"{server.url}/real.fa")
    get(source(server.put("g.fa", b"", to, to)), tmp_path)
    assert (tmp_path / "g.fa").read_bytes() == DATA
    assert server.ranges("real.fa") == [None, "bytes=1000000-"]


def test_a_redirection_from_https_to_http_is_not_followed():
    import urllib.request

    from dnamamba.pipelines.fetch_http import _Redirects

    def follow(old, new):
        return _Redirects().redirect_request(urllib.request.Request(old), None, 302, "Found", {}, new)

    assert follow("https://h/x", "http://h/x") is None
    assert follow("https://h/x", "https://h/y").full_url == "https://h/y"
    assert follow("http://h/x", "https://h/y").full_url == "https://h/y"


def test_files_through_fsspec(tmp_path):
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "g.fa").write_bytes(DATA)
    url = f"file://{tmp_path}/a%20b/g.fa"
    done, _ = get(source(url, md5=md5(DATA)), tmp_path / "x")
    assert done.path.read_bytes() == DATA
    with pytest.raises(InputError, match="no such file"):
        get(source(f"file://{tmp_path}/none.fa"), tmp_path / "x")
    # Gone on with in the middle.
    part = tmp_path / "y" / "g.fa.part"
    with fetch_part.PartFile(_made(part).with_suffix("")) as begun:
        from dnamamba.pipelines.fetch_object import open_object
        from dnamamba.pipelines.fetch_reply import Version

        reply = open_object(url, 0, Version())
        begun.begin(url, 0, reply.version)
        begun.write(DATA[:1_234_567])
        reply.close()
    ticks = []
    assert get(source(url), tmp_path / "y", progress=lambda done, total: ticks.append(done))[0].md5 == md5(DATA)
    assert ticks[0] == 1_234_567


def _made(path):
    path.parent.mkdir(parents=True)
    return path


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://h/x.fa", "ftp:// is not fetched, only http://.*; most servers offer the same files under https://"),
        ("htps://h/x.fa", "is https:// meant"),
        ("data://h/x.fa", "is not fetched"),
        ("http:///x.fa", "names no host"),
        ("file://folder/x.fa", "three strokes"),
        ("https://me:secret@h/x.fa", "password in an address"),
        ("http://h:99999/x.fa", "no address"),
        ("http://h/x y.fa", "no blanks"),
        ("http://h/x\n.fa", "no blanks and no control"),
    ],
)
def test_addresses_that_are_not_asked_for(url, message):
    with pytest.raises(InputError, match=message) as caught:
        check_url(url)
    assert "secret" not in str(caught.value)


def test_names_on_disk_stay_in_their_folder():
    names = {
        "http://h/a/hg38.2bit": "hg38.2bit",
        "http://h/a/hg38.fa.gz?key=secret#x": "hg38.fa.gz",
        "http://h/..%2f..%2fetc%2fpasswd": "_._.._etc_passwd",
        "http://h/..": "_.",
        "http://h/.bashrc": "_bashrc",
        "http://h/-rf": "_rf",
        "http://h/a%00b%0ac": "a_b_c",
        "http://h/a\\..\\b": "a_.._b",
        "http://h/" + "x" * 500: "x" * 200,
    }
    assert {url: url_file_name(url) for url in names} == names
    with pytest.raises(InputError, match="ends without the name of a file"):
        url_file_name("http://h/a/")
    assert url_label("http://u:p@h/x.fa?key=secret") == "http://h/x.fa?.."


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
  - {{format: fasta, urls: [{url}], size: {size}, md5: "{md5}", md5sums: unknown}}
contigs:
  - {{name: chr1, length: 5, aliases: [], kind: autosome}}
"""


def add_manifest(folder, name, url, data, digest=None):
    folder.mkdir(exist_ok=True)
    text = MANIFEST.format(name=name, url=url, size=len(data), md5=digest or md5(data))
    (folder / f"{name}.yaml").write_text(text)


def test_several_files_at_once_and_what_went_wrong_with_each(server, tmp_path, monkeypatch):
    monkeypatch.setenv("DNAMAMBA_MANIFESTS", str(tmp_path / "m"))
    for i in range(6):
        add_manifest(tmp_path / "m", f"toy{i}", server.put(f"toy{i}.fa", DATA[i:], drop(10_000)), DATA[i:])
    names, ticks, notes = [f"toy{i}" for i in range(6)], [], []
    options = {"format": "fasta", "jobs": 3, "settings": QUICK, "note": notes.append}
    done = fetch([*names, "toy0"], tmp_path / "d", progress=lambda *tick: ticks.append(tick), **options)
    assert [one.md5 for one in done] == [*(md5(DATA[i:]) for i in range(6)), md5(DATA)]
    assert ticks[-1][1:] == (sum(len(DATA) - i for i in range(6)),) * 2
    del server.files["toy1.fa"]
    server.files["toy4.fa"] = OTHER[4:]
    with pytest.raises(InputError, match=r"toy1.fa.* answers 404") as caught:
        fetch(names, tmp_path / "e", **options)
    assert md5(OTHER[4:]) in str(caught.value)
    assert left(tmp_path / "e") == ["toy0.fa", "toy2.fa", "toy3.fa", "toy5.fa"]
    with pytest.raises(InputError, match="answers 404"):
        fetch(["toy0"], tmp_path / "f", settings=QUICK, note=notes.append)  # the manifest's first file is a 2bit
    with pytest.raises(InputError, match="would have one name on disk"):
        fetch(["toy0", "http://h/x/toy0.fa"], tmp_path / "e", format="fasta")
    with pytest.raises(InputError, match=r"no manifest named 'toy00'; is 'toy0' meant"):
        wanted_file("toy00", None)


def _command(*arguments):
    return [sys.executable, "-m", "dnamamba", "genome", "fetch", *map(str, arguments)]


def test_the_command(server, tmp_path):
    url = server.put("g.fa", DATA, status(503, Retry_After=0))
    done = subprocess.run(_command(url, "--dir", tmp_path / "d"), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{md5(DATA)}  {tmp_path}/d/g.fa\n"), done.stderr
    assert "g.fa: neither its size nor a checksum is known: nothing can be verified" in done.stderr
    assert "answers 503" in done.stderr
    done = subprocess.run(_command("hg83", "--dir", tmp_path), capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "is 'hg38' meant?" in done.stderr


def _slow(x):
    x.head()
    for _ in range(200):
        x.body(10_000)
        x.start += 10_000
        time.sleep(0.01)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_killed_or_interrupted_and_run_again(server, tmp_path, sign):
    url = server.put("g.fa", DATA, _slow, _slow, _slow)
    part, last = tmp_path / "g.fa.part", 0
    for _ in range(3):
        child = subprocess.Popen(
            # A shell starts what it runs in the background with Ctrl-C ignored; this child must hear it all the same.
            ["python", "-c", "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
             "sys.argv = sys.argv[1:]; from dnamamba.cli import main; main()", *_command(url, "--dir", tmp_path)[2:]],
            stderr=subprocess.PIPE, executable=sys.executable, text=True,
        )  # fmt: skip
        while not (part.exists() and part.stat().st_size > last + 50_000):
            assert child.poll() is None
            time.sleep(0.005)
        began = Timer(30, child.kill)
        began.start()
        child.send_signal(sign)
        _, err = child.communicate()
        began.cancel()
        assert child.returncode == (-9 if sign == signal.SIGKILL else 1)
        if sign == signal.SIGINT:
            assert "interrupted; what has come is kept, the same command goes on" in err
        assert not (tmp_path / "g.fa").exists()
        last = part.stat().st_size
    assert get(source(url, md5=md5(DATA)), tmp_path)[0].path.read_bytes() == DATA
    assert server.ranges("g.fa")[-1] == f"bytes={last}-"
    assert len(server.ranges("g.fa")) == 4

"""Fetch from a server that drops, stalls, lies and changes its files: the right bytes, or a sentence."""

import os
import re
import shutil
import socket
from email.utils import formatdate
from types import SimpleNamespace

import pytest
from faulty_server import drop, endless, ignore_range, lie, stall, status, trickle, unannounced
from fetch_cases import DATA, OTHER, get, left, md5, source

from dnamamba.errors import InputError
from dnamamba.pipelines import fetch_part
from dnamamba.pipelines.fetch_checksums import listed_md5

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

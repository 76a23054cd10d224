"""Where a download comes from: proxies, redirections, fsspec, addresses that are refused, and the names on disk."""

import pytest
from faulty_server import drop, status
from fetch_cases import DATA, get, md5, source

from dnamamba.errors import InputError
from dnamamba.pipelines import fetch_part
from dnamamba.pipelines.fetch_address import check_url, url_file_name, url_label


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

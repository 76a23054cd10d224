"""The fetch command: genomes by the names of their manifests, several at once, killed and run again."""

import signal
import subprocess
import sys
import time
from threading import Timer

import pytest
from faulty_server import drop, status
from fetch_cases import DATA, OTHER, QUICK, add_manifest, get, left, md5, source

from dnamamba.errors import InputError
from dnamamba.pipelines.fetch import fetch, wanted_file


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

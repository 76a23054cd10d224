"""The command line of the store: what is printed where, and which exit code."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from store_cases import flip_byte, random_bases, write_fasta

from dnamamba.commands.genome import genome as command
from dnamamba.errors import InputError
from dnamamba.pipelines.store import open_store


def _run(*arguments):
    """The command as a user runs it; exit code, standard output, standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "dnamamba", "genome", *map(str, arguments)], capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


def _call(*arguments):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def fasta(tmp_path):
    contigs = {f"chr{i}": random_bases(2_000 * i, i) for i in range(1, 6)}
    return write_fasta(tmp_path / "toy.fa", contigs, 60)


@pytest.fixture
def store(tmp_path, fasta):
    _call("ingest", fasta, "--store", tmp_path / "s")
    return tmp_path / "s"


def test_ingest_info_verify_export(tmp_path, fasta):
    code, out, err = _run("ingest", fasta, "--store", tmp_path / "s")
    assert (code, out) == (0, "")
    assert "assembly toy, 5 contigs, 30,000 bases" in err
    code, out, err = _run("info", tmp_path / "s")
    assert (code, err) == (0, "")
    assert "dnamamba-genome-store version 1, 1 assemblies" in out
    assert "SQ." in out
    assert "simulated   no" in out
    code, out, err = _run("verify", tmp_path / "s")
    assert (code, out) == (0, "toy: whole, 5 contigs, 30,000 bases\n")
    code, out, err = _run("export", tmp_path / "s", "--out", "-")
    assert (code, out) == (0, fasta.read_text())


def test_info_as_json_is_all_there_is(store):
    document = json.loads(_call("info", store, "--json").stdout)
    assert (document["format"], document["version"]) == ("dnamamba-genome-store", 1)
    (assembly,) = document["assemblies"]
    assert assembly["source"]["name"] == "toy.fa"
    assert [row["length"] for row in assembly["contigs"]] == [2_000, 4_000, 6_000, 8_000, 10_000]


def test_info_shows_the_longest_contigs_and_nothing_that_steers_a_terminal(store):
    from dnamamba.pipelines.store_info import store_table

    lines = _call("info", store, "--contigs", "2").stdout.splitlines()
    assert [line.split()[0] for line in lines[-3:]] == ["chr5", "chr4", "and"]
    opened = open_store(store)
    assembly = opened["toy"]
    assembly.attributes["source"]["name"] = "\x1b[2Jevil"
    assert "\x1b" not in store_table(opened, [assembly], 1)


def test_verify_names_contig_and_range(store):
    flip_byte(store / "toy" / "sequence" / "c" / "0", 4_096 + 5)
    code, out, err = _run("verify", store)
    assert code == 1
    assert out == "toy: DAMAGED: contig 'chr2', bases 1 to 4,000: the checksum differs\n"
    assert err.count("\n") == 1
    assert "damaged: toy" in err


def test_several_sources_and_the_choice_of_one(tmp_path, fasta, store):
    other = write_fasta(tmp_path / "other.fasta", {"x": random_bases(10)})
    assert _call("ingest", other, "--store", store).exit_code == 0
    with pytest.raises(InputError, match=r"holds 2 assemblies \(other, toy\); say which"):
        _call("export", store, "--out", tmp_path / "x.fa")
    assert _call("export", store, "--assembly", "other", "--out", tmp_path / "x.fa").exit_code == 0
    result = _call("ingest", fasta, other, "--store", store, "--assembly", "both")
    assert result.exit_code == 2
    assert "give one SOURCE" in result.stderr
    assert _call("ingest", "--store", store).exit_code == 2


@pytest.mark.parametrize(
    ("second", "options", "message"),
    [
        ("other/new.fasta", (), "new.fa and {folder}/other/new.fasta: both would be assembly 'new'; ingest one with"),
        ("other/new.fasta", ("--overwrite",), "both would be assembly 'new'"),
        ("toy.fa", (), "assembly 'toy' is there already; --overwrite replaces it"),
        ("nothing.fa", (), "nothing.fa: no such file"),
    ],
)
def test_the_names_of_several_sources_are_looked_at_before_any_is_read(tmp_path, store, second, options, message):
    first = write_fasta(tmp_path / "new.fa", {"x": random_bases(10)})
    (tmp_path / "other").mkdir()
    write_fasta(tmp_path / "other" / "new.fasta", {"x": random_bases(10)})
    code, out, err = _run("ingest", first, tmp_path / second, "--store", store, *options)
    assert (code, out) == (1, "")
    assert message.format(folder=tmp_path) in err
    assert open_store(store).assemblies == ["toy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ingest", "{fasta}", "--store", "{store}"), "assembly 'toy' is there already; --overwrite replaces it"),
        (("ingest", "nothing.fa", "--store", "{store}"), "nothing.fa: "),
        (("ingest", "{fasta}", "--store", "{fasta}"), "cannot be written"),
        (("ingest", "{fasta}", "--store", "{store}", "--assembly", "../x"), "assembly name '../x'"),
        (("ingest", "{fasta}", "--store", "{store}", "--assembly", "y", "--include", "X*"), "no contig is left"),
        (("info", "{store}/nothing"), "no genome store here"),
        (("info", "{store}", "--assembly", "toi"), "is 'toy' meant?"),
        (("export", "{store}", "--out", "/nowhere/x.fa"), "cannot be written"),
    ],
)
def test_errors_are_one_line_and_exit_code_1(store, fasta, arguments, message):
    code, out, err = _run(*(argument.format(store=store, fasta=fasta) for argument in arguments))
    assert (code, out) == (1, "")
    assert err.startswith("dnamamba: error: ")
    assert message in err
    assert err.count("\n") == 1


def test_control_c_leaves_what_resume_goes_on_with(tmp_path):
    source = write_fasta(tmp_path / "toy.fa", {f"chr{i}": random_bases(300_000, i) for i in range(40)})
    code = (
        "import time, dnamamba.pipelines.store_writer as w; real = w.AssemblyWriter.add\n"
        "def slow(*a): real(*a); print('one', flush=True); time.sleep(0.05)\n"
        "w.AssemblyWriter.add = slow\n"
        # A shell starts what it runs in the background with Ctrl-C ignored; this child must hear it all the same.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys; from dnamamba.cli import main; main()"
    )
    arguments = ["genome", "ingest", str(source), "--store", str(tmp_path / "s")]
    child = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    child.stdout.readline()
    time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 1
    assert err == f"dnamamba: error: {source}: interrupted; the finished contigs are kept, --resume goes on\n"
    assert not (tmp_path / "s" / "toy").exists()
    assert _call("ingest", source, "--store", tmp_path / "s", "--resume").exit_code == 0
    assert _call("verify", tmp_path / "s").stdout == "toy: whole, 40 contigs, 12,000,000 bases\n"


def test_a_reader_that_goes_away_is_no_error(store):
    command = f"{sys.executable} -m dnamamba genome export {store} --out - | head -c 10"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True)
    assert done.stdout == b">chr1\n" + done.stdout[6:]
    assert b"Traceback" not in done.stderr


def test_simulate(tmp_path):
    result = _call(
        "simulate", "--store", tmp_path / "s", "--bases", "40000", "--seed", "3", "contigs=2", "far_share=0.05"
    )
    assert result.exit_code == 0
    store = open_store(tmp_path / "s")
    assert store.assemblies == sorted(f"sim_{n}" for n in ("human", "chimpanzee", "bonobo", "gorilla", "orangutan"))
    assert all(store[name].attributes["simulated"] for name in store)
    assert "YES: made by a program" in _call("info", tmp_path / "s").stdout
    with pytest.raises(InputError, match="far_share meant"):
        _call("simulate", "--store", tmp_path / "t", "far_shar=0.1")


@pytest.mark.parametrize("arguments", [[], ["ingest"], ["simulate"], ["info"], ["verify"], ["export"]])
def test_help_needs_neither_zarr_nor_numpy(arguments):
    script = (
        "import sys; from dnamamba.commands.genome import genome\n"
        "try: genome(sys.argv[1:] + ['--help'])\n"
        "finally: sys.exit(bool({'numpy', 'zarr', 'torch', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_rna_is_refused_with_the_flag_that_reads_it(tmp_path):
    (tmp_path / "r.fa").write_text(">r\nACGUacgu\n")
    arguments = ["ingest", str(tmp_path / "r.fa"), "--store", str(tmp_path / "s.zarr")]
    assert "--rna reads U as T" in str(CliRunner().invoke(command, arguments).exception)
    assert CliRunner().invoke(command, [*arguments, "--rna"]).exit_code == 0
    assert bytes(open_store(tmp_path / "s.zarr")["r"]["r", 0:8]) == b"ACGTacgt"

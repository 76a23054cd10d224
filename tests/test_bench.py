"""dnamamba bench: rivals compute what they are named after, clocks and limits count right, a whole small run."""

import json
import mmap
import time

import pytest
import torch
from click.testing import CliRunner

from dnamamba.bench import by_length, limits
from dnamamba.bench.clock import median_seconds, peak_bytes
from dnamamba.bench.contenders import Contender, both_of, contenders
from dnamamba.bench.decoding import bytes_a_step
from dnamamba.bench.plan import default_plan
from dnamamba.bench.report import report_text
from dnamamba.bench.results import Result
from dnamamba.bench.training import read_case
from dnamamba.cli import cli
from dnamamba.errors import InputError
from dnamamba.model import MambaLM, ModelConfig

BY_NAME = {one.name: one for one in contenders(64, torch.float32, "cpu")}


def test_median_is_of_several_runs_and_a_long_one_is_timed_once():
    pauses = iter([0.0, 0.01, 0.03, 0.02, *[0.02] * 40])
    assert median_seconds(lambda: time.sleep(next(pauses)), "cpu", enough=0.1) == pytest.approx(0.02, abs=0.008)
    calls = []
    assert median_seconds(lambda: (calls.append(1), time.sleep(0.05)), "cpu", enough=0.04) >= 0.05
    assert len(calls) == 2  # one that is not counted


def test_peak_counts_what_was_held_together():
    def pages():  # 20 MB of the system's own: what a library frees it may keep, or hand out again in pieces
        made = mmap.mmap(-1, 20_000_000)
        for at in range(0, len(made), mmap.PAGESIZE):
            made[at] = 1
        return made

    def run():
        pages().close()
        return pages(), pages()

    peak = peak_bytes(run, "cpu")
    if peak is None:
        pytest.skip("this system does not tell a process its peak of memory")
    assert 39e6 <= peak < 50e6  # the system counts pages in batches, a processor each: it may miss some 100 kB


def test_attention_is_causal_softmax_attention():
    inputs = BY_NAME["attention"].inputs(37)
    q, k, v = (t.double() for t in inputs.values())
    future = torch.ones(37, 37, dtype=torch.bool).triu(1)
    scores = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).masked_fill(future, -torch.inf)
    torch.testing.assert_close(BY_NAME["attention"].op(**inputs).double(), scores.softmax(-1) @ v, rtol=1e-4, atol=1e-5)


def test_long_convolution_is_a_sum_over_all_that_came_before():
    inputs = BY_NAME["FFT convolution"].inputs(19)
    x, kernel = (t.double() for t in inputs.values())
    rows = [(kernel[:, : t + 1].flip(1) * x[:, : t + 1]).sum(1) for t in range(19)]
    y = BY_NAME["FFT convolution"].op(**inputs).double()
    torch.testing.assert_close(y, torch.stack(rows, 1), rtol=1e-4, atol=1e-4)


def test_the_plain_scan_computes_what_ours_does():
    inputs = BY_NAME["scan"].inputs(50)
    assert {k: v.shape for k, v in inputs.items()} == {
        k: v.shape for k, v in BY_NAME["plain torch scan"].inputs(50).items()
    }
    ours, plain = (BY_NAME[name].op(**inputs) for name in ("scan", "plain torch scan"))
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)


def test_both_directions_reach_every_input(monkeypatch):
    asked = []
    grad = torch.autograd.grad

    def watched(y, leaves, upstream):
        found = grad(y, leaves, upstream)
        asked.append(len([g for g in found if g is not None and g.abs().sum() > 0]))
        return found

    monkeypatch.setattr(torch.autograd, "grad", watched)
    for one in BY_NAME.values():
        both_of(one, one.inputs(9))()
    assert asked == [len(one.inputs(2)) for one in BY_NAME.values()]


def _slow(name: str, seconds: float, memory: int = 1) -> Contender:
    return Contender(name, lambda x: time.sleep(seconds * len(x)) or x, lambda n: {"x": torch.ones(n)}, memory)


def test_a_contender_stops_where_a_call_is_too_long_or_does_not_fit(monkeypatch):
    field = [_slow("scan", 0), _slow("slow", 0.02), _slow("large", 0, memory=10)]
    monkeypatch.setattr(by_length, "contenders", lambda *_: field)
    monkeypatch.setattr(by_length, "scan_limits", lambda *_: {"bytes": (1e-3, 2e-3), "exponentials": (2e-3, 0.5e-3)})
    monkeypatch.setattr(by_length, "free_memory", lambda device: 50)
    rows = by_length.measure_lengths(64, [1, 2, 4], torch.float32, "cpu", 0.03, lambda line: None)
    forward = [row for row in rows if row.metric == "forward_ms"]
    assert [sorted(row.rivals) for row in forward] == [["large", "slow"], ["large", "slow"], []]
    assert forward[1].rivals["slow"] >= 40
    assert forward[2].notes["slow"].endswith("s a call at 2")
    assert forward[2].notes["large"].startswith("about")
    assert all(row.ours is not None for row in rows)
    assert [(row.limit, row.limit_is) for row in rows[:2]] == [(2.0, "exponentials"), (3.0, "bytes")]


def test_limits_of_a_scan(monkeypatch):
    monkeypatch.setattr(limits, "exponentials", lambda device: 1e9)
    monkeypatch.setattr(limits, "bandwidth", lambda device: 2e9)
    found = limits.scan_limits(2, 10, 100, torch.bfloat16, "cpu")
    assert found["exponentials"] == (2000 * 20 / 1e9, 2000 * 36 / 1e9)
    # forward x, dt, z, y and B, C; backward reads x, dt, z, dy and writes dx, ddt, dz; B, C and their gradients
    assert found["bytes"] == ((4 * 2000 + 2 * 3200) / 1e9, (7 * 2000 + 4 * 3200) / 1e9)


def test_bytes_of_a_decoding_step():
    model = MambaLM(ModelConfig(d_model=32, n_layers=2, d_state=16))
    matrices = 16 * 32 + 2 * (32 * 128 + 64 * (2 + 32) + 2 * 64 + 64 * 16 + 64 * 32)  # in, x, dt, A_log, out
    state = 2 * (3 * 64 + 64 * 16) * 4
    assert bytes_a_step(model, 5, torch.bfloat16) == 2 * matrices + 2 * 5 * state


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("lengths: want growing", ["--lengths", "4k,1k"]),
        ("--lengths: want a size", ["--lengths", "long"]),
        ("batches: want growing", ["--batches", "0"]),
        ("model '128': want width x blocks", ["--models", "128"]),
        ("cap: want above 0, got 0", ["--cap", "0"]),
        ("tokens: want above 0, got 0", ["--tokens", "0"]),
    ],
)
def test_wrong_sizes_are_refused(message, arguments, tmp_path):
    answer = CliRunner().invoke(cli, ["bench", "--device", "cpu", "--out", str(tmp_path), *arguments])
    assert isinstance(answer.exception, InputError)
    assert message in str(answer.exception)


def test_a_file_that_cannot_be_written_is_said_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr("dnamamba.bench.run.measure", lambda *arguments: pytest.fail("it measured"))
    (tmp_path / "file").touch()
    options = ["bench", "--device", "cpu", "--out", str(tmp_path / "out"), "--json", str(tmp_path / "file" / "x.jsonl")]
    answer = CliRunner().invoke(cli, options)
    assert isinstance(answer.exception, InputError)
    assert "x.jsonl: its folder cannot be made" in str(answer.exception)


def test_plans_suit_their_device():
    for device in ("cpu", "cuda"):
        whole, quick = (default_plan(device, torch.float32, less) for less in (False, True))
        assert max(quick.lengths) < max(whole.lengths)
        assert quick.cap < whole.cap
        assert set(quick.models) <= set(whole.models)


def test_cases_are_read():
    assert read_case("128x6 1x1048576") == (128, 6, 1, 2**20)
    with pytest.raises(InputError, match="want width x blocks, batch x length"):
        read_case("128 1x10")


def test_a_small_run(tmp_path):
    sizes = ["--width", "32", "--lengths", "64,128", "--models", "16x1", "--contexts", "64,128", "--tokens", "256"]
    where = ["--batches", "1,2", "--cap", "5", "--out", str(tmp_path / "out"), "--json", str(tmp_path / "lines.jsonl")]
    answer = CliRunner().invoke(cli, ["bench", "--quick", "--device", "cpu", *sizes, *where], catch_exceptions=False)
    assert answer.exit_code == 0
    for words in ("Scan by length, forward, ms", "Training, one optimiser step", "Decoding, tokens a second"):
        assert words in answer.stdout
    assert "training 16x1, context 64, fast" in answer.stderr
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert {line["bench"] for line in lines} == {"selective_scan", "train_step", "decode"}
    keys = ["bench", "case", "metric", "unit", "ours", "rivals", "limit", "limit_is"]
    keys += ["device", "python", "torch", "triton", "commit", "date"]
    for line in lines:
        assert list(line) == keys
        assert line["ours"] > 0
        assert all(value > 0 for value in line["rivals"].values())
    assert {line["case"] for line in lines if line["bench"] == "train_step"} == {"16x1 4x64", "16x1 2x128"}
    assert [line["case"] for line in lines if line["bench"] == "decode"] == ["16x1 1 float32", "16x1 2 float32"]
    page = (tmp_path / "out" / "bench.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "plain torch scan" in page


def test_a_result_that_is_missing_says_why():
    rows = [
        Result("selective_scan", "1x8x9 bf16", "forward_ms", "ms", None, {}, 1.0, "bytes", {"scan": "out of memory"}),
        Result("train_step", "16x1 1x64", "tokens_per_s", "1/s", None, notes={"ours": "out of memory"}),
    ]  # fmt: skip
    text = report_text(rows, {"device": "none"})
    assert "scan stopped: out of memory" in text
    assert text.count("out of memory") == 2

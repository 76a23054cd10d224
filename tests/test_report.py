"""The log is read back whole across resumes; pictures are drawn, the same bytes twice."""

import math

import pytest

from dnamamba.curriculum import CurriculumConfig, Stage
from dnamamba.report import draw_contexts, draw_training, read_log, stage_figures


def _part(folder, number, rows):
    path = folder / f"part-{number}" / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text("tokens,loss,perplexity_64\n" + "".join(f"{t},{loss},{p}\n" for t, loss, p in rows))


def test_what_a_killed_part_logged_past_its_checkpoint_is_dropped(tmp_path):
    _part(tmp_path, 0, [(10, 1.5, ""), (20, 1.4, ""), (30, 9.9, "")])
    _part(tmp_path, 1, [(30, 1.3, ""), (40, 1.2, 3.5)])
    _part(tmp_path, 2, [])
    rows = read_log(tmp_path)
    assert [(row["tokens"], row["loss"]) for row in rows] == [(10, 1.5), (20, 1.4), (30, 1.3), (40, 1.2)]
    assert rows[-1]["perplexity_64"] == 3.5
    assert "perplexity_64" not in rows[0]


def test_a_last_line_that_a_kill_cut_short_is_left_out(tmp_path):
    _part(tmp_path, 0, [(1000, 1.5, ""), (2000, 1.4, "")])
    with (tmp_path / "part-0" / "metrics.csv").open("a") as file:
        file.write("30")  # of 3000
    assert [row["tokens"] for row in read_log(tmp_path)] == [1000, 2000]


def test_figures_of_a_stage_are_of_its_own_steps():
    curriculum = CurriculumConfig(
        stages=(Stage(context=2, share=0.5), Stage(context=4, share=0.5)), tokens_per_step=4, total_tokens=4 * 40
    )
    rows = [
        {"tokens": 4.0 * (i + 1), "loss": 1.0 + (i // 20), "gradient_norm": i, "tokens_per_second": 8.0 + (i // 20),
         "data_share": i / 100, "peak_memory": 7e9 - i}
        for i in range(30)
    ]  # fmt: skip
    rows += [{"tokens": 80.0, "perplexity_4": 3.5, "perplexity_16": 3.25}, {"tokens": 100.0, "perplexity_4": 3.0}]
    first, second = stage_figures(rows, curriculum)
    assert first == {
        "context": 2, "steps": 20, "tokens": 80, "perplexity": pytest.approx(math.e), "valid": {"4": 3.5, "16": 3.25},
        "gradient_norm": 9.5, "tokens_per_second": 8, "seconds": 10.0, "data_share": 0.19, "peak_memory": 7_000_000_000,
    }  # fmt: skip
    assert (second["context"], second["steps"], second["valid"]) == (4, 10, {"4": 3.0})
    assert second["perplexity"] == pytest.approx(math.exp(2))
    assert len(stage_figures(rows[:20], curriculum)) == 1


def test_parts_are_read_in_their_order_past_nine(tmp_path):
    for number in range(11):
        _part(tmp_path, number, [(10 * number, 1.0, "")])
    assert [row["tokens"] for row in read_log(tmp_path)] == [10.0 * n for n in range(11)]


def test_pictures_are_reproducible(tmp_path):
    rows = [{"tokens": 10.0 * i, "loss": 1.4 - 0.01 * i} for i in range(20)]
    rows.append({"tokens": 200.0, "perplexity_64": 3.9, "perplexity_16384": 3.8})
    for name in ("a", "b"):
        draw_training(rows, [(0, 64), (100, 16384)], tmp_path / name / "training.png", "title")
        draw_contexts({"model": {64: 3.9, 16384: 3.8}, "Markov": {64: 3.7, 16384: 3.7}}, tmp_path / name / "c.png", "t")
    for picture in ("training.png", "c.png"):
        first = (tmp_path / "a" / picture).read_bytes()
        assert first.startswith(b"\x89PNG")
        assert first == (tmp_path / "b" / picture).read_bytes()

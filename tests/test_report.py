"""The log is read back whole across resumes; pictures are drawn, the same bytes twice."""

from dnamamba.report import draw_contexts, draw_training, read_log


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

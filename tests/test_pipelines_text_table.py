"""Tables as plain text."""

from dnamamba.pipelines.text_table import aligned


def test_words_stand_left_and_numbers_right():
    rows = [("name", "bases", "kind"), ("chr1", "248,956,422", "autosome"), ("M", "16,569", "")]
    assert aligned(rows, left=(0, 2)) == [
        "name        bases  kind",
        "chr1  248,956,422  autosome",
        "M          16,569",
    ]
    assert aligned([("a", "b"), ("long", "1")], left=()) == ["   a  b", "long  1"]

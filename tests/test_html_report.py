"""One HTML file: everything inside it, escaped, the same bytes twice."""

import base64

from dnamamba.html_report import Picture, Section, Table, Text, write_report


def test_everything_is_inside_and_escaped(tmp_path):
    picture = tmp_path / "p.png"
    picture.write_bytes(b"\x89PNG not really")
    sections = [
        Section("Bases & <gaps>", [Text("a < b"), Text("run --x\nrun --y", code=True)]),
        Section("Figures", [Table(["n", "v"], [["<k>", 0.5], ["m", "1"]], "what"), Picture(picture, "a > b")]),
    ]
    write_report(tmp_path / "r.html", "T & U", sections)
    text = (tmp_path / "r.html").read_text()
    assert "<title>T &amp; U</title>" in text
    assert "Bases &amp; &lt;gaps&gt;" in text
    assert "<pre>run --x\nrun --y</pre>" in text
    assert "<td>&lt;k&gt;</td><td>0.5</td>" in text
    assert base64.b64encode(picture.read_bytes()).decode() in text
    assert "http" not in text, "a report is readable without a network"
    write_report(tmp_path / "again.html", "T & U", sections)
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / "r.html").read_bytes()

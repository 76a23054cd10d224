"""What is said on the way goes to stderr as it is when it is said."""

import io
from contextlib import redirect_stderr

from dnamamba.say import say


def test_it_goes_where_stderr_is_now(capsys):
    elsewhere = io.StringIO()
    with redirect_stderr(elsewhere):
        say("one")
    say("two")
    assert elsewhere.getvalue() == "one\n"
    assert capsys.readouterr() == ("", "two\n")


def test_a_line_and_its_end_are_written_at_once():
    class Writes(io.StringIO):
        def write(self, text):
            written.append(text)
            return len(text)

    written = []
    with redirect_stderr(Writes()):
        say("one of several threads")
    assert [text for text in written if text] == ["one of several threads\n"]

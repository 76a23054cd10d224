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

"""A line about what is being done, on stderr at once: stdout is for results."""

import sys


def say(text: str) -> None:
    """Print a line on stderr, as it is now: a program or notebook may have put another in its place."""
    print(text, file=sys.stderr, flush=True)

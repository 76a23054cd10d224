"""A line about what is being done, on stderr at once: stdout is for results."""

import sys


def say(text: str) -> None:
    """Print a line on stderr, as it is now: a program or notebook may have put another in its place.

    The line and its end are one write, so that two threads that speak at once do not share a line.
    """
    print(f"{text}\n", end="", file=sys.stderr, flush=True)

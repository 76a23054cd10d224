"""`python -m dnamamba` is the console script `dnamamba`."""

from dnamamba.cli import main

if __name__ == "__main__":
    main()

"""The console script: `dnamamba COMMAND`. Data on stdout, progress on stderr; exit 0 done, 1 failed, 2 usage."""

import os
import sys
import warnings
from importlib import import_module
from typing import TextIO

import click

from dnamamba import __version__
from dnamamba.errors import InputError, InputWarning, UsageError
from dnamamba.interrupts import signal_of, sigterm_heard

# Each command is a module of dnamamba/commands that loads when it is used; the line is what `dnamamba --help` shows.
COMMANDS = {
    "doctor": "Check the device, the kernels and the versions; say what to do about a failure.",
    "genome": "List, fetch, ingest, simulate, inspect, verify, split and export genomes.",
    "pretrain": "Pretrain a Mamba on genome stores, the context growing stage by stage.",
    "evaluate": "Held-out perplexity and bits a base of a model.",
    "finetune": "Fine-tune a pretrained model into a species classifier.",
    "classify": "Call the species of reads, contigs and chromosomes.",
    "score": "Score variants: VCF in, annotated VCF or a table out.",
    "saturate": "Score every substitution of a region: a picture or a table.",
    "track": "A value for every base as bigWig or bedGraph: likelihood, entropy or surprise.",
    "embed": "Embeddings of sequences to Parquet or Zarr.",
    "generate": "Sequences that a language model makes up.",
    "sweep": "What context, size and selection buy: tables, figures, one report.",
    "task": "The synthetic tasks: selective copying, induction heads.",
    "bench": "Speed and memory on this machine, beside attention and plain scans.",
    "convert": "Models of mamba-ssm and Hugging Face: read, and written for them.",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"dnamamba.commands.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dnamamba")
def cli() -> None:
    """Byte-level Mamba for genomes: ingest, pretrain, tell species apart, score variants, see what context buys."""


_PYTHONS_OWN = warnings.showwarning


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning of ours in one line, as errors are; a library's as Python does."""
    if issubclass(category, InputWarning):
        print(f"dnamamba: warning: {message}", file=sys.stderr)
    else:
        _PYTHONS_OWN(message, category, filename, lineno, file, line)


def main() -> None:
    """Run the command line; an error the user can act on is one line on stderr."""
    # torch's idle threads would spin against the threads of the compiled scan. Read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warnings.showwarning = _show_warning
    try:
        with sigterm_heard():
            code = cli(prog_name="dnamamba", standalone_mode=False)  # click's own words hide what a user can do
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except InputError as error:
        print(f"dnamamba: error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except (click.Abort, KeyboardInterrupt) as error:  # the former from the latter, whose words say how to go on
        stop = error.__cause__ or error
        print("; ".join(filter(None, ("dnamamba: interrupted", str(stop)))), file=sys.stderr)
        sys.exit(128 + signal_of(stop))  # as a shell says it
    except BrokenPipeError:  # `dnamamba ... | head`: the reader has gone, nothing failed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"dnamamba: error: {error}", file=sys.stderr)
        sys.exit(1)
    else:
        sys.exit(code if isinstance(code, int) else 0)  # --help and --version give 0

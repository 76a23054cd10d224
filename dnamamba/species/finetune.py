"""Fine-tuning for species: from a pretrained model and labelled genomes to a calibrated classifier and its report."""

import json
import shlex
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
import yaml

from dnamamba.checkpoints import Checkpoint, checkpoint_to_resume
from dnamamba.config import to_dict
from dnamamba.device import autocast_dtype, choose_device
from dnamamba.errors import InputError
from dnamamba.files import write_whole
from dnamamba.interrupts import stop_told
from dnamamba.model import MambaLM
from dnamamba.model_directory import load, read_record
from dnamamba.pipelines.alphabet import ALPHABETS, Alphabet
from dnamamba.pipelines.splits import PARTS
from dnamamba.run_folder import config_of_run, held, new_run_folder
from dnamamba.say import say
from dnamamba.simulated import GENOMES, simulate_genomes
from dnamamba.species.adapters import add_adapters, merge_adapters
from dnamamba.species.classifier_config import ClassifierConfig
from dnamamba.species.finetune_config import FinetuneConfig, powers_between, read_config
from dnamamba.species.genomes import Genomes, open_genomes
from dnamamba.species.head_fitting import first_head, refit_head
from dnamamba.species.insertions import Insertion, find_insertions
from dnamamba.species.measure import Measuring, calibrate, measure
from dnamamba.species.model import SpeciesClassifier
from dnamamba.species.negatives import UnlikeFiles
from dnamamba.species.parts import Parts, part_genomes
from dnamamba.species.result import FinetuneOutcome, controls_of, leave, missing_note, table, verdict
from dnamamba.species.training import Trainer
from dnamamba.species.training_windows import TrainingWindows

CONFIG_FILE, PARTS_FILE = "finetune.yaml", "splits.json"
FEWEST_INSERTIONS = 50
"""Of each class; with fewer no training windows are laid over them, for the model would learn these by heart: with 23
and 36 in the smaller class the real pairs of tests/benchmarks/species_real.py were told no better for it."""


def finetune_command(
    path: str | None,
    overrides: Sequence[str],
    model: str | None,
    stores: Sequence[str],
    fasta: Sequence[str],
    out: Path | None,
    resume: bool,
) -> str:
    """`dnamamba finetune species`: run and return the text it prints."""
    if resume:
        config, out = config_of_run(FinetuneConfig, out, CONFIG_FILE)
    else:
        config = read_config(path, overrides, model, stores, fasta)
        out = new_run_folder(out, "species")
    going_on = f"dnamamba finetune species --resume --out {shlex.quote(str(out))}"
    with stop_told(out / CONFIG_FILE, "before it was done", going_on):
        outcome = finetune(config, out, resume=resume)
    made = {
        "config.json, model.safetensors": "the classifier, for dnamamba.load_classifier",
        "report.html": "everything measured, with the pictures",
        "metrics.json": "its figures",
    }
    paths = "\n".join(f"  {outcome.folder / name!s:<50} {what}" for name, what in made.items())
    notes = "\n".join(outcome.notes)
    return (
        f"\nRight calls on held-out sequence, {outcome.title}\n{table(outcome)}\n{verdict(outcome.rows)}\n{notes}\n\n"
        f"Made in {outcome.seconds:.0f} s:\n{paths}"
    )


def finetune(config: FinetuneConfig, out: Path, *, resume: bool = False) -> FinetuneOutcome:
    """Fine-tune, calibrate, measure and report. The same config gives the same weights, interrupted or not.

    Args:
        config: everything about the run.
        out: its folder; made when it is not there.
        resume: go on from the last checkpoint in `out`.

    Raises:
        InputError: a model, genome or split that will not do, a loss that is no number, or a stop by SIGTERM or Ctrl-C
            (which leaves a checkpoint to resume from), or a run that another process is at work on.
    """
    with ExitStack() as at_work:
        return _finetune(config, out, resume, at_work)


def _finetune(config: FinetuneConfig, out: Path, resume: bool, at_work: ExitStack) -> FinetuneOutcome:
    """`at_work` is held until the run ends."""
    began = time.monotonic()
    device = choose_device(config.run.device)
    autocast = autocast_dtype(config.run.precision, device)
    lm = load(config.model, device=device)
    extra = read_record(config.model).extra
    unlike = UnlikeFiles(config.measure.unlike, ALPHABETS[lm.config.alphabet])
    stores = config.data.stores
    if not stores and not config.data.fasta:  # it is simulated into the run's folder; a kill meanwhile can be resumed
        _keep_config(config, out, resume)
        stores = _simulate(config, out)
    genomes = open_genomes(config.data, stores)
    parts = part_genomes(genomes, config.data, extra.get("splits"))
    _keep_config(config, out, resume)  # not before: a start that fails leaves the folder free
    at_work.enter_context(held(out / CONFIG_FILE))
    _same_parts(parts, out, resume)
    title = _title(genomes)
    say(f"{title}: " + ", ".join(f"{part} {parts.bases(part):,} bases" for part in PARTS))
    for note in parts.notes:
        say(note)
    model = _with_head(lm, genomes, config)
    alphabet = ALPHABETS[lm.config.alphabet]
    measuring = Measuring(genomes, parts, config, alphabet)
    checkpoint = _checkpoint(out) if resume else None
    if checkpoint is None:
        first_head(model, measuring, config, autocast)
    windows, over_insertions = _training_windows(genomes, parts, config, alphabet)
    trainer = Trainer(
        model,
        windows,
        config,
        alphabet,
        autocast,
        out,
        lambda one: measuring.point(one, autocast),
        checkpoint,
    )
    trainer.run()
    merge_adapters(model.lm)
    refitted = refit_head(model, measuring, config, autocast)
    calibrate(model, measuring, autocast)
    rows = measure(model, measuring, unlike, autocast)
    outcome = FinetuneOutcome(
        out,
        title,
        rows,
        trainer.rows,
        trainer.best.step if trainer.best else trainer.step,
        time.monotonic() - began,
        (*parts.notes, *over_insertions, *refitted, *missing_note(config, rows)),
        _bound(genomes),
    )
    leave(outcome, model, config, genomes, parts)
    return outcome


def _training_windows(
    genomes: Genomes, parts: Parts, config: FinetuneConfig, alphabet: Alphabet
) -> tuple[TrainingWindows, tuple[str, ...]]:
    """The windows of every step, and what the result says of those over insertions."""
    regions, classes = parts.regions["train"], len(genomes.classes)
    found: Sequence[Sequence[Insertion]] = ()
    note: tuple[str, ...] = ()
    if config.insertions:
        say(f"looking for insertions in {parts.bases('train'):,} bases")
        found = find_insertions(regions, genomes.assemblies, classes)
        told = ", ".join(f"{name} {len(one):,}" for name, one in zip(genomes.classes, found, strict=True))
        if min(map(len, found)) >= FEWEST_INSERTIONS:
            note = (f"{config.insertions:.0%} of the training windows lie over insertions, of which there are: {told}",)
        else:
            note = (f"too few insertions to lay training windows over ({told}): all lie as sampling={config.sampling}",)
            found = ()
        say(note[0])
    return TrainingWindows(regions, genomes.assemblies, classes, config, alphabet, found), note


def _with_head(lm: MambaLM, genomes: Genomes, config: FinetuneConfig) -> SpeciesClassifier:
    """The model as it is trained: its head drawn, its weights frozen or adapted as wanted."""
    torch.manual_seed(config.run.seed)
    lm.recompute = "cheap" if lm.device.type == "cuda" else "none"
    head = config.head
    first = min(config.loss.first, config.longest) if config.loss.at == "powers" else config.longest
    model = SpeciesClassifier(
        lm,
        ClassifierConfig(
            classes=genomes.classes,
            pool=head.pool,
            hidden=head.hidden,
            lengths=powers_between(first, config.longest),
            controls=controls_of(config, genomes),
        ),
    ).to(lm.device)
    if head.train == "frozen":
        lm.requires_grad_(False)
    elif head.train == "lora":
        add_adapters(lm, head.rank, head.alpha)
    return model


def _keep_config(config: FinetuneConfig, out: Path, resume: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if not resume:
        write_whole(out / CONFIG_FILE, yaml.safe_dump(to_dict(config), sort_keys=False))


def _simulate(config: FinetuneConfig, out: Path) -> tuple[str, ...]:
    """The store of simulated genomes."""
    simulate = config.data.simulate
    return () if simulate is None else (simulate_genomes(simulate, out / GENOMES, say),)


def _same_parts(parts: Parts, out: Path, resume: bool) -> None:
    """Keep the split in the run's folder; a resumed run must come to the same one."""
    file, text = out / PARTS_FILE, json.dumps(parts.splits.to_json()) + "\n"
    if resume and file.exists() and file.read_text() != text:
        raise InputError(f"{file}: the genomes are parted otherwise than when the run began; start it anew")
    write_whole(file, text)


def _checkpoint(out: Path) -> Checkpoint | None:
    checkpoint = checkpoint_to_resume(out / "checkpoints", say)
    if checkpoint is not None:
        say(f"going on after step {checkpoint.step:,}")
    return checkpoint


def _title(genomes: Genomes) -> str:
    simulated = any(assembly.attributes.get("simulated") for assembly in genomes.assemblies)
    return f"{', '.join(genomes.classes)}{' (simulated genomes)' if simulated else ''}"


def _bound(genomes: Genomes) -> dict[int, float]:
    """The simulator's own bound, where the classes are the five simulated apes one by one."""
    from dnamamba.pipelines.simulate.apes import ASSEMBLIES, species_bound

    if sorted(a.name for a in genomes.assemblies) != sorted(ASSEMBLIES) or len(genomes.classes) != len(ASSEMBLIES):
        return {}
    bound = species_bound(genomes.assemblies[0])  # type: ignore[arg-type]
    return {int(n): value for n, value in zip(bound["length"], bound["library_and_spectrum"], strict=True)}

"""When a run fits its head by regression: before the first step, and once more after the last."""

import torch

from dnamamba.config import format_size
from dnamamba.say import say
from dnamamba.species.finetune_config import FinetuneConfig
from dnamamba.species.measure import Measuring
from dnamamba.species.model import SpeciesClassifier
from dnamamba.species.probe import probe_head


def first_head(
    model: SpeciesClassifier, measuring: Measuring, config: FinetuneConfig, autocast: torch.dtype | None
) -> None:
    """Fit a first head to the features as they are, where that is wanted and there are windows for it."""
    if config.head.probe is None or config.head.pool == "last":
        return
    length = min(config.head.probe, config.longest)
    found = _fit_head(model, measuring, length, config, autocast)
    say(f"a first head on the pretrained features: {found or 'it starts at zero'}")


def refit_head(
    model: SpeciesClassifier, measuring: Measuring, config: FinetuneConfig, autocast: torch.dtype | None
) -> tuple[str, ...]:
    """Fit the head to the features as they have become, and keep it where it tells long validation windows better.

    Returns:
        What the result says of it.
    """
    if config.head.refit is None:
        return ()
    refit = config.head.refit
    judged = [n for n in config.lengths if n >= refit] or [refit]
    before = measuring.valid_loss(model, judged, autocast)
    trained = {name: tensor.clone() for name, tensor in model.state_dict().items() if not name.startswith("lm.")}
    found = _fit_head(model, measuring, refit, config, autocast)
    if found is None:
        return ()
    after = measuring.valid_loss(model, judged, autocast)
    better = after < before
    if not better:
        model.load_state_dict(trained, strict=False)
    note = (
        f"the head fitted once more after the training: validation from {format_size(refit)} bases on {before:.4f} -> "
        f"{after:.4f} nats, {'kept' if better else 'not kept'}"
    )
    say(f"{note}; {found}")
    return (note,)


def _fit_head(
    model: SpeciesClassifier, measuring: Measuring, length: int, config: FinetuneConfig, autocast: torch.dtype | None
) -> str | None:
    """Fit a head on windows of one length, and say what it is worth; None, and said, where a class has no windows."""
    train, valid = (measuring.windows(part, length, windows=config.head.probe_windows) for part in ("train", "valid"))
    if train is None or valid is None:
        say(f"no windows of {length:,} bases in every class to fit a head on")
        return None
    fitted = probe_head(model, train, valid, seed=config.run.seed, autocast=autocast)
    share = f"{fitted.valid_accuracy:.3f} (validation, {len(valid.labels):,} windows)"
    return f"right calls at {format_size(length)} {share}"

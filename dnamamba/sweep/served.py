"""Which runs of a sweep the data can serve: the others are left out, and said, before anything is trained."""

from dataclasses import replace

from dnamamba.config import format_size
from dnamamba.corpus import Corpus, open_corpus
from dnamamba.errors import InputError
from dnamamba.pipelines.alphabet import ALPHABETS, Alphabet
from dnamamba.sweep.plan import Plan
from dnamamba.sweep.targets import unserved


def served_plan(plan: Plan) -> tuple[Plan, tuple[str, ...]]:
    """The plan without the runs whose longest context the data cannot serve, and a line for each of those.

    A run needs the context it trains at in the training part, and the one it is measured at in one piece of the
    validation part and upstream of enough targets of the test part.

    Args:
        plan: settled, so that its stores are there.

    Raises:
        InputError: no run is left.
    """
    first = next(iter(plan.runs.values()))
    corpus = open_corpus(first.stores, first.split_in_force)
    reasons = {}
    for name, config in plan.runs.items():
        trained = max(stage.context for stage in config.curriculum.stages)
        reason = _reason(corpus, trained, max(config.contexts), ALPHABETS[config.model.alphabet])
        if reason:
            reasons[name] = f"run {name} is left out: {reason}"
    if len(reasons) == len(plan.runs):
        raise InputError(next(iter(reasons.values())))
    kept = {name: config for name, config in plan.runs.items() if name not in reasons}
    return replace(plan, runs=kept), tuple(reasons.values())


def _reason(corpus: Corpus, trained: int, measured: int, alphabet: Alphabet) -> str:
    """Why the longest contexts of a run cannot be; nothing when they can."""
    bases = corpus.splits.bases("train")
    if bases < trained:
        return f"the train part has {bases:,} bases, the context is {format_size(trained)}"
    longest = max((region.end - region.start for region in corpus.splits.parts["valid"]), default=0)
    if longest < measured:
        return f"the longest piece of the valid part has {longest:,} bases, the context is {format_size(measured)}"
    return unserved(corpus, measured, "test", alphabet)

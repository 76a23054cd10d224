"""The score by its definition: two whole windows from the stream's start, one with each allele. Slow, and plain.

Nothing is shared and nothing forked. The scorer must give these numbers; benchmarks time it beside this.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dnamamba.model import MambaLM
from dnamamba.pipelines.alphabet import DNA
from dnamamba.pipelines.variants import Variant, strand_edit
from dnamamba.scoring.strand import Strand, Tokens, stream_start
from dnamamba.scoring.types import StrandParts

_SHARED, _ALLELE = 0, 1


@torch.inference_mode()
def window_log_p(model: MambaLM, bases: Tokens) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Log-probability of each base [L] of a window among A, C, G, T; NaN for others. One forward pass."""
    tokens = torch.from_numpy(np.concatenate([[DNA.start], bases[:-1]]).astype(np.uint8)).to(model.device)
    logits, _ = model(tokens[None])
    log_p: Tensor = logits[0, :, :4].double().log_softmax(-1)  # [L, 4]
    targets = torch.from_numpy(bases).to(model.device).long()
    picked = log_p.gather(1, targets.clamp_max(3)[:, None])[:, 0]
    return torch.where(targets < 4, picked, torch.nan).cpu().numpy()


def naive_parts(
    model: MambaLM, strand: Strand, variants: Sequence[Variant], *, context: int | None, horizon: int
) -> StrandParts:
    """The parts of a score on one strand: of a variant, or of several on one haplotype.

    Args:
        model: in eval mode.
        strand: of the variants' contig.
        variants: in any order; their REF is believed.
        context, horizon: in bases, as of `VariantScorer`; a context of None is the whole contig.
    """
    edits = sorted(
        (strand_edit(v.pos - 1, v.ref, v.alt, strand.length, reverse=strand.reverse) for v in variants),
        key=lambda edit: (edit.start, edit.end),
    )
    first, last = edits[0].start, edits[-1].end
    start, end = stream_start(first, context), min(last + horizon, strand.length)
    reference = strand.tokens(start, end)
    pieces: tuple[list[Tokens], list[Tokens]] = ([], [])
    marks: tuple[list[int], list[int]] = ([], [])
    at = start
    for edit in edits:
        alt = DNA.table[np.frombuffer(edit.alt.encode(), np.uint8)]
        between = reference[at - start : edit.start - start]
        own = reference[edit.start - start : edit.end - start]
        for side, letters in enumerate((own, alt)):
            pieces[side].extend([between, letters])
            marks[side].extend([_SHARED] * len(between) + [_ALLELE] * len(letters))
        at = edit.end
    sums = []
    for side in (0, 1):
        window = np.concatenate([*pieces[side], reference[at - start :]])
        if not len(window):
            sums.append((0.0, 0, 0.0))
            continue
        log_p = window_log_p(model, window)
        mark = np.array(marks[side] + [_SHARED] * (end - at))
        behind = np.arange(len(window)) >= first - start
        allele = log_p[(mark == _ALLELE) & behind]
        shared = log_p[(mark == _SHARED) & behind]
        sums.append((float(np.nansum(allele)), int(np.isfinite(allele).sum()), float(np.nansum(shared))))
    (ref_allele, ref_letters, ref_shared), (alt_allele, alt_letters, alt_shared) = sums
    null = 0.0
    if alt_letters != ref_letters:
        stop = strand.length if context is None else min(start + context, strand.length)
        null = (alt_letters - ref_letters) * float(np.nanmean(window_log_p(model, strand.tokens(start, stop))))
    return StrandParts(alt_allele - ref_allele - null, alt_shared - ref_shared, first - start, end - last, null)

"""Several processes on one training: some share the batch, some the sequence."""

from dnamamba.parallel.sequence_group import SequenceGroup, piece_of, sharing

__all__ = ["SequenceGroup", "piece_of", "sharing"]

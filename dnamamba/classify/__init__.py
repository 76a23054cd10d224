"""Which species is this? A fine-tuned classifier over reads, contigs and chromosomes: calls, windows, anytime calls."""

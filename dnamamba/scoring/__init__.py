"""Scoring variants: shared streams over the reference, states forked at each variant.

types.py        what a score is
strand.py       one strand of a contig as tokens, and the grid its streams start on
fork.py         one haplotype as a strand reads it, against the reference
passes.py       forward passes: tokens in, log-probabilities of the letters out
stream.py       one pass over the reference; its states and log-probabilities are kept as long as a fork needs them
track.py        what a stream has read and forks still need
rows.py         many forks, run on together from the states they start from
scorer.py       `VariantScorer`
naive.py        the same score from two whole windows: the reference of all this
calibration.py  where a score stands among those of random variants: strata.py, random_variants.py

And around it, files and commands:

run.py          `dnamamba score`: plan.py makes the scorer, many.py spreads it over processes
files.py        a variant file read, scored and written in its order; journal.py keeps what a kill would lose
outputs.py      tables of scores; vcf_output.py annotates VCF
phased.py       haplotype blocks of a phased file; phased_files.py writes them
saturation.py   every substitution of a region, `dnamamba saturate`
base_track.py   a value for every base; track_files.py writes bigWig and bedGraph; run_track.py is `dnamamba track`
"""

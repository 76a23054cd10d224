"""The embedded apes: five simulated genomes on the great-ape tree, grown from a synthetic ancestor (docs/simulator.md).

Start at apes.py (what goes into the store), then contig.py (one contig of all species) and the parts that it names.
"""

"""From genome files to a Zarr store: readers, ingest, splits, the simulated apes. Knows numpy and zarr, never torch."""

if __name__ != "dnamamba.pipelines":
    raise ImportError("import this package as dnamamba.pipelines; its bare name would shadow other people's packages")

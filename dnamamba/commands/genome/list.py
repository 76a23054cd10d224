"""`dnamamba genome list`: the genomes whose files and contig names are known."""

import click


@click.command(name="list")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON instead.")
def list_genomes(name: str | None, as_json: bool) -> None:
    """List the genomes that have a manifest; of one NAME (or the path of a manifest), everything that is known.

    Manifests of your own, NAME.yaml files, are looked for in the folder that DNAMAMBA_MANIFESTS names and in
    ~/.config/dnamamba/manifests.
    """
    import json

    from dnamamba.pipelines.manifest import load_manifest, manifest_names
    from dnamamba.pipelines.manifest_table import contigs_table, manifest_document, manifests_table

    if name is not None:
        one = load_manifest(name)
        click.echo(json.dumps(manifest_document(one), indent=1) if as_json else contigs_table(one))
        return
    manifests = [load_manifest(each) for each in manifest_names()]
    if as_json:
        click.echo(json.dumps([manifest_document(each) for each in manifests], indent=1))
    else:
        click.echo(manifests_table(manifests))

"""FASTA for tests: written, packed, and read record by record."""

import gzip

from dnamamba.pipelines import compression
from dnamamba.pipelines.sources import open_source


def writer(tmp_path):
    """What the `write` fixtures give: a function that writes a file and returns its path."""

    def write(data: bytes | str, name: str = "in.fa") -> str:
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return str(path)

    return write


def read(path, **options) -> list[tuple[str, str, bytes]]:
    records = []
    for contig in open_source(path, **options).contigs():
        blocks = list(contig.blocks())
        assert all(0 < len(block) <= max(2**22, compression.CHUNK) and block.dtype == "uint8" for block in blocks)
        records.append((contig.name, contig.description, b"".join(block.tobytes() for block in blocks)))
    return records


def bgzip(data: bytes, block: int) -> bytes:
    """Blocks of `block` bytes and the end marker, as the SAM specification has them (section 4.1)."""
    out = b""
    for part in [data[i : i + block] for i in range(0, len(data), block)] + [b""]:
        whole = gzip.compress(part, 6, mtime=0)
        body = whole[10:]
        size = 18 + len(body) - 1
        out += b"\x1f\x8b\x08\x04" + bytes(4) + b"\x00\xff\x06\x00BC\x02\x00" + size.to_bytes(2, "little") + body
    return out

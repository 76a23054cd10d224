"""Print the lower bound of every dependency in pyproject.toml as a pip constraint.

torch and triton are left out: a floor of theirs is a build for GPUs, several gigabytes large.
"""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
for dependency in project["dependencies"]:
    match = re.match(r"([\w-]+)>=([\d.]+)", dependency)
    if match is None:
        raise SystemExit(f"pyproject.toml: {dependency!r} has no lower bound")
    if match[1] not in ("torch", "triton"):
        print(f"{match[1]}=={match[2]}" + (".*" if match[2].count(".") < 2 else ""))

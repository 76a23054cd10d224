"""The house keeps its order: who may import whom, what starts fast, what the package lists, what the wheel holds."""

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "lightning", "numpy", "zarr", "numba", "triton", "sklearn", "matplotlib", "pandas", "pyarrow"}

# What a script uses where it is installed.
OPTIONAL = {"mamba_ssm", "mambapy", "msprime", "atheris", "transformers"}

# Folder -> first words of the imports it may hold, beside the standard library. None: anything.
ALLOWED = {
    "kernels": {"torch", "triton", "numba", "llvmlite", "numpy", "dnamamba.kernels"},
    "pipelines": {
        "numpy",
        "zarr",
        "numba",
        "isal",
        "pysam",
        "fsspec",
        "distributed",
        "yaml",
        "google_crc32c",
        "dnamamba.errors",
        "dnamamba.pipelines",
        "dnamamba.__version__",
    },
    "dnamamba/model": {"torch", "dnamamba.kernels", "dnamamba.errors", "dnamamba.model"},
}


def _modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def _imports(path: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = ast.iter_child_nodes(tree) if top_level_only else ast.walk(tree)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            names |= (
                {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "dnamamba" else {node.module}
            )
    return names


@pytest.mark.parametrize("folder", ALLOWED)
def test_each_room_imports_only_what_it_may(folder):
    modules = _modules(folder)
    assert modules
    for path in modules:
        for name in _imports(path):
            own = ".".join(name.split(".")[:2]) if name.startswith("dnamamba") else name.split(".")[0]
            assert own in ALLOWED[folder] or own in sys.stdlib_module_names, f"{path.relative_to(ROOT)} imports {name}"


def test_command_modules_load_nothing_heavy():
    for path in [ROOT / "dnamamba" / "cli.py", *_modules("dnamamba/commands")]:
        loaded = {name.split(".")[0] for name in _imports(path, top_level_only=True)}
        assert not loaded & HEAVY, f"{path.name} imports {loaded & HEAVY} at its top"


def test_help_of_every_command_loads_nothing_heavy():
    script = (
        "import sys, click\n"
        "from dnamamba.cli import cli\n"
        "def walk(command, path):\n"
        "    assert command.get_help(click.Context(command, info_name=path))\n"
        "    context = click.Context(command)\n"
        "    for name in command.list_commands(context) if isinstance(command, click.Group) else []:\n"
        "        walk(command.get_command(context, name), f'{path} {name}')\n"
        "walk(cli, 'dnamamba')\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))\n"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_missing_file_is_one_line_and_exit_code_1(tmp_path):
    command = [sys.executable, "-m", "dnamamba", "genome", "info", str(tmp_path / "none.zarr")]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert answer.returncode in (1, 2)
    assert "Traceback" not in answer.stderr
    assert "none.zarr" in answer.stderr


def test_every_package_is_listed():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {"dnamamba.configs", "dnamamba.data_manifests"}
    for folder, prefix in (
        ("dnamamba", "dnamamba"),
        ("kernels", "dnamamba.kernels"),
        ("pipelines", "dnamamba.pipelines"),
    ):
        for init in sorted((ROOT / folder).rglob("__init__.py")):
            found.add(".".join([prefix, *init.parent.relative_to(ROOT / folder).parts]))
    assert listed == found


@pytest.mark.parametrize("name", ["kernels", "pipelines"])
def test_bare_names_refuse_to_load(name):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(
        [sys.executable, "-c", f"import {name}"], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert f"import this package as dnamamba.{name}" in answer.stderr


def test_the_wheel_imports_whole(tmp_path):
    """Builds the wheel and imports every module of it from an unpacked copy, out of sight of the checkout."""
    source = tmp_path / "source"
    unwanted = shutil.ignore_patterns(".git", ".venv*", "runs", "build", "*.egg-info", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, source, symlinks=True, ignore=unwanted)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        names = archive.namelist()
    assert any(name.startswith("dnamamba/configs/") and name.endswith(".yaml") for name in names)
    assert "dnamamba/data_manifests/hg38.yaml" in names
    modules = [
        name.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")
        for name in names
        if name.endswith(".py") and "__main__" not in name
    ]
    for wanted in ("kernels.reference", "pipelines.store", "model", "commands.pretrain"):
        assert f"dnamamba.{wanted}" in modules
    script = f"import importlib, dnamamba\nfor name in {modules!r}: importlib.import_module(name)\n"
    script += "print(dnamamba.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(site)}
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith(str(site))


@pytest.mark.parametrize("folder", ["benchmarks", "gpu", "fuzz"])
def test_scripts_import_what_is_there(folder):
    """Nothing in CI runs these scripts, so a name that moved away from them would be noticed by a user."""
    pytest.importorskip("triton", reason="Triton, which some scripts import, exists on Linux only")
    beside = {path.stem for path in _modules(f"tests/{folder}")} | {path.stem for path in (ROOT / "tests").glob("*.py")}
    for path in _modules(f"tests/{folder}"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or node.module.split(".")[0] != "dnamamba":
                names = [node.module] if isinstance(node, ast.ImportFrom) else []
                names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                for name in names:
                    top = name.split(".")[0]
                    known = top in beside or top in OPTIONAL or importlib.util.find_spec(top) is not None
                    assert known, f"{path.name}: no module {name!r}"
                continue
            module = importlib.import_module(node.module)
            for alias in node.names:
                known = hasattr(module, alias.name) or importlib.util.find_spec(f"{node.module}.{alias.name}")
                assert known, f"{path.name}: {node.module} has no {alias.name!r}"

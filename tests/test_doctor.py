"""dnamamba doctor: every engine is checked, a failure is told with its remedy and exit code 1."""

import importlib.metadata
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner

from dnamamba import doctor
from dnamamba.commands.doctor import doctor as command

KERNELS = {
    "selective_scan", "causal_conv1d", "rms_norm", "cross_entropy", "embedding", "scan_summary", "selective_step",
    "conv step",
}  # fmt: skip


def test_healthy_machine():
    report = doctor.examine()
    assert report.ok, report.text()
    engines = {"reference", "cpu"} | ({"triton"} if torch.cuda.is_available() else set())
    assert {(c.name, c.engine) for c in report.checks} == {(name, engine) for name in KERNELS for engine in engines}
    here = {one.name: one for one in report.packages}
    assert here["torch"].version == torch.__version__
    assert {"zarr", "isal", "pysam", "matplotlib"} <= here.keys()
    assert not {"pytest", "mypy", "atheris"} & here.keys(), "what developers need is no user's concern"
    assert here["distributed"].extra == "cluster"
    assert report.text().endswith("all kernels work")


def test_a_wrong_kernel_fails_with_a_remedy(monkeypatch):
    from dnamamba.kernels import cpu_norm

    right = cpu_norm.norm_forward
    monkeypatch.setattr(cpu_norm, "norm_forward", lambda *args: tuple(t * 1.001 for t in right(*args)))
    result = CliRunner().invoke(command)
    assert result.exit_code == 1
    assert "rms_norm         cpu        FAILED" in result.output
    assert "to do: cpu: reinstall numba" in result.output
    assert result.output.splitlines()[-1] == "1 kernel checks failed"


@pytest.mark.parametrize("broken", [ImportError("no module named llvmlite"), RuntimeError("no C compiler")])
def test_a_kernel_that_does_not_run_fails_with_its_message(broken, monkeypatch):
    from dnamamba.kernels import cpu_scan

    def fail(*args):
        raise broken

    monkeypatch.setattr(cpu_scan, "scan_forward", fail)
    report = doctor.examine()
    failed = [check for check in report.checks if not check.ok]
    assert [(check.name, check.engine) for check in failed] == [("selective_scan", "cpu")]
    assert str(broken) in report.text()


def test_nan_is_a_failure(monkeypatch):
    from dnamamba.kernels import cpu_conv

    right = cpu_conv.conv_forward
    monkeypatch.setattr(cpu_conv, "conv_forward", lambda *args: right(*args) * torch.nan)
    assert not doctor.examine().ok


def test_command_line():
    done = subprocess.run([sys.executable, "-m", "dnamamba", "doctor"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "selective_scan   cpu        ok" in done.stdout
    assert "C compiler" in done.stdout


def test_missing_c_compiler_is_told(monkeypatch):
    from dnamamba.kernels import engines

    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(engines.shutil, "which", lambda name: None)
    engines.require_c_compiler.cache_clear()
    with pytest.raises(RuntimeError, match="install one, for example `apt-get install gcc`"):
        engines.require_c_compiler()
    assert "none (Triton needs one" in doctor.examine().text()
    engines.require_c_compiler.cache_clear()


def _metadata(monkeypatch, versions):
    """A dnamamba that asks for three packages, and what is installed of them."""
    lines = ["wanted>=2.0,<3", "windows-only; platform_system == 'Plan9'", 'distributed>=2025.1; extra == "cluster"']

    def version(name):
        if versions.get(name) is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "requires", lambda name: lines)
    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(doctor, "_cases", lambda: iter(()))
    return doctor.examine()


def test_packages_that_do_not_fit_fail_with_a_remedy(monkeypatch):
    for found, told in ((None, "not installed, wanted <3,>=2.0"), ("1.9", "1.9, wanted <3,>=2.0")):
        report = _metadata(monkeypatch, {"wanted": found})
        assert not report.ok
        assert f"wanted         {told}" in report.text()
        assert "to do: pip install 'wanted<3,>=2.0'" in report.text()
        assert report.text().endswith("1 packages do not fit")


def test_optional_parts_may_be_missing_but_not_be_too_old(monkeypatch):
    report = _metadata(monkeypatch, {"wanted": "2.5.1+local"})
    assert report.ok
    assert (
        "distributed    not installed; pip install 'dnamamba[cluster]' for --scheduler of genome ingest and score"
        in report.text()
    )
    assert "windows-only" not in report.text()
    assert not _metadata(monkeypatch, {"wanted": "2.5", "distributed": "2024.1"}).ok


def test_a_checkout_that_is_not_installed_says_so(monkeypatch):
    def none(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", none)
    report = doctor.examine()
    assert report.ok
    assert "not installed here" in report.text()

"""Fixtures that several test files share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_server import FaultyServer
from hypothesis import settings

# On top of what hypothesis itself chooses (the same examples every time where CI is set): a busy machine is no failure.
settings.register_profile("dnamamba", settings(), deadline=None)
settings.load_profile("dnamamba")

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads that spin make a busy machine crawl


@pytest.fixture
def device() -> str:
    """The device kernels are tested on: "cuda" when there is one, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture
def poisoned_memory() -> Iterator[None]:
    """Fresh tensors hold NaN (or the largest integer), so that an element nobody wrote is seen."""
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(before)
    torch.utils.deterministic.fill_uninitialized_memory = fill


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real genome files that DNAMAMBA_TEST_DATA names; without it these tests are skipped."""
    folder = os.environ.get("DNAMAMBA_TEST_DATA", "")
    if not folder:
        pytest.skip("DNAMAMBA_TEST_DATA is not set: no real genome files to test on")
    return Path(folder)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """A local HTTP server that fails as the test tells it to, and no proxy before it."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with FaultyServer() as server:
        yield server

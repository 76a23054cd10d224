"""Where a run computes: what is chosen, and what is said when it cannot be had."""

import pytest
import torch

from dnamamba.device import autocast_dtype, choose_device
from dnamamba.errors import InputError
from dnamamba.kernels import engines


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    engines.require_c_compiler.cache_clear()
    yield
    engines.require_c_compiler.cache_clear()


def test_auto_takes_the_gpu_where_there_is_one(gpu, monkeypatch):
    assert choose_device("auto").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"


def test_a_gpu_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="cuda is wanted but torch sees no GPU"):
        choose_device("cuda")


def test_one_of_several_gpus(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == choose_device(torch.device("cuda", 1)) == torch.device("cuda", 1)
    with pytest.raises(InputError, match="cuda:2 is wanted but torch sees 2 GPUs, from cuda:0 on"):
        choose_device("cuda:2")
    assert choose_device(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(InputError, match="device: want auto, cpu or cuda, got 'cuda:x'"):
        choose_device("cuda:x")


def test_words_that_mean_no_device_or_precision_are_refused():
    with pytest.raises(InputError, match="device: want auto, cpu or cuda, got 'gpu'"):
        choose_device("gpu")
    with pytest.raises(InputError, match="precision: want auto, float32 or bfloat16, got 'fp16'"):
        autocast_dtype("fp16", torch.device("cpu"))


def test_a_missing_c_compiler_is_said_before_training(gpu, monkeypatch):
    monkeypatch.setattr(engines, "find_c_compiler", lambda: None)
    with pytest.raises(InputError, match=r"system's C compiler.*apt-get install gcc.*run.device=cpu needs none"):
        choose_device("auto")


def test_precision(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert autocast_dtype("auto", cpu) is None
    assert autocast_dtype("bfloat16", cpu) is torch.bfloat16
    assert autocast_dtype("auto", cuda) is torch.bfloat16
    assert autocast_dtype("float32", cuda) is None
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert autocast_dtype("auto", cuda) is None
    with pytest.raises(InputError, match="this GPU has none"):
        autocast_dtype("bfloat16", cuda)

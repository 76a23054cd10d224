"""The classifier's directory: what comes back, and that the two kinds of model are not mistaken for each other."""

import json

import pytest
import torch

import dnamamba
from dnamamba.errors import InputError
from dnamamba.model import MambaLM, ModelConfig
from dnamamba.model_directory import save
from dnamamba.species.classifier import save_classifier, with_config
from dnamamba.species.classifier_config import ClassifierConfig
from dnamamba.species.model import SpeciesClassifier


def _model(**config):
    torch.manual_seed(0)
    model = SpeciesClassifier(
        MambaLM(ModelConfig(d_model=16, n_layers=1)), ClassifierConfig(classes=("human", "bonobo"), **config)
    )
    torch.nn.init.normal_(model.evidence.weight)
    return model.eval()


def test_what_was_saved_comes_back(tmp_path):
    model = _model(pool="mean", hidden=8, lengths=(256, 512), controls=("no Y",))
    with_config(model, temperature=(1.0, 2.5), temperature_lengths=(256, 512))
    save_classifier(model, tmp_path / "m", {"note": "x"})
    read = dnamamba.load_classifier(tmp_path / "m")
    assert read.classes == ("human", "bonobo")
    assert read.config == model.config
    assert read.extra == {"note": "x"}
    tokens = torch.randint(0, 4, (2, 30), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(read.model(tokens)[0], model(tokens)[0])
    assert read.model.lm.log_likelihood("ACGT").count == 4
    save_classifier(read.model, tmp_path / "again", {"note": "x"})
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "m" / name).read_bytes()


def test_the_kinds_are_told_apart(tmp_path):
    model = _model()
    save_classifier(model, tmp_path / "classifier")
    save(model.lm, tmp_path / "language")
    with pytest.raises(InputError, match=r"holds a species classifier.*dnamamba\.load_classifier reads it"):
        dnamamba.load(tmp_path / "classifier")
    with pytest.raises(
        InputError, match=r"holds a language model, and a species classifier is wanted.*dnamamba\.load "
    ):
        dnamamba.load_classifier(tmp_path / "language")


def test_a_damaged_head_is_named(tmp_path):
    save_classifier(_model(), tmp_path / "m")
    file = tmp_path / "m" / "config.json"
    data = json.loads(file.read_text())
    data["head"]["classes"] = ["human"]
    file.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"config\.json: classes: want two or more"):
        dnamamba.load_classifier(tmp_path / "m")
    data["head"]["classes"] = ["human", "bonobo", "gorilla"]
    file.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"is \[2\]; config\.json wants \[3\]"):
        dnamamba.load_classifier(tmp_path / "m")

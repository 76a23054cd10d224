"""dnamamba convert: transformers reads what we write and we what it writes, mamba-ssm's names and forms, refusals."""

import json

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from random_models import random_model, random_tokens

import dnamamba
from dnamamba.cli import cli
from dnamamba.convert.directory import convert, read_foreign
from dnamamba.convert.vocabulary import in_dna_order, parse_tokens
from dnamamba.errors import InputError
from dnamamba.model_directory import load, read_record, save

transformers = pytest.importorskip("transformers", reason="transformers is not installed (pip install dnamamba[test])")
SIZES = {"d_model": 32, "n_layers": 2, "d_state": 8}
TOKENS = "A=7,C=8,G=9,T=10,N=11,^=2"


@pytest.fixture(scope="module")
def model():
    return random_model(seed=3, **SIZES)


@pytest.fixture
def ours(model, tmp_path):
    return save(model, tmp_path / "ours", {"store": "apes.zarr"})


def _their_model(vocab_size=12):
    torch.manual_seed(0)
    config = transformers.MambaConfig(
        vocab_size=vocab_size, hidden_size=32, state_size=8, num_hidden_layers=2, time_step_rank=3, pad_token_id=0
    )
    theirs = transformers.MambaForCausalLM(config).eval()
    with torch.no_grad():
        theirs.backbone.embeddings.weight.normal_(0, 0.3)
    return theirs


def _edit(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@torch.no_grad()
def test_transformers_reads_what_we_write(model, ours, tmp_path):
    line = convert(ours, tmp_path / "hf")
    assert line.endswith("from dnamamba for huggingface")
    theirs, report = transformers.MambaForCausalLM.from_pretrained(tmp_path / "hf", output_loading_info=True)
    assert not report["unexpected_keys"]
    assert set(report["missing_keys"]) <= {"lm_head.weight"}  # tied
    tokens = random_tokens(2, 60)
    wanted = model(tokens)[0]
    torch.testing.assert_close(theirs.eval()(tokens.long()).logits, wanted, rtol=0, atol=1e-4)
    back = dnamamba.load(tmp_path / "hf")  # it says its alphabet
    assert torch.equal(back(tokens)[0], wanted)
    assert back.log_likelihood("ACGTN").count == 4


@torch.no_grad()
def test_we_read_what_transformers_writes(tmp_path):
    theirs = _their_model()
    theirs.save_pretrained(tmp_path / "hf")
    with pytest.raises(InputError, match="which of its 12 tokens are A, C, G and T"):
        dnamamba.load(tmp_path / "hf")
    convert(tmp_path / "hf", tmp_path / "ours", tokens=TOKENS)
    back = load(tmp_path / "ours")
    assert read_record(tmp_path / "ours").extra == {"converted_from": "huggingface"}
    rows = [7, 8, 9, 10, 11]  # A, C, G, T, N
    letters = torch.randint(0, 5, (2, 50))
    mine = back(torch.cat([torch.full((2, 1), 15), letters], 1))[0]
    tokens = torch.tensor(rows)[letters]
    wanted = theirs(torch.cat([torch.full((2, 1), 2), tokens], 1)).logits
    torch.testing.assert_close(mine[..., :5], wanted[..., rows], rtol=0, atol=1e-4)
    score = back.log_likelihood("ACGT")
    first = torch.tensor([[2, 7, 8, 9]])
    nats = theirs(first).logits[0, :, 7:11].log_softmax(-1)
    assert score.total == pytest.approx(float(nats.diagonal().sum()), abs=1e-4)


@torch.no_grad()
def test_there_and_back_is_the_same_bits(model, ours, tmp_path):
    """Through transformers and mamba-ssm."""
    convert(ours, tmp_path / "hf", "huggingface")
    convert(tmp_path / "hf", tmp_path / "ssm", "mamba-ssm")
    convert(tmp_path / "ssm", tmp_path / "back")
    assert (tmp_path / "back" / "model.safetensors").read_bytes() == (ours / "model.safetensors").read_bytes()
    assert load(tmp_path / "back").config == load(tmp_path / "hf").config


def test_what_mamba_ssm_will_read(model, ours, tmp_path):
    """Names and config as its MambaLMHeadModel.from_pretrained wants them: every tensor, the tied head too."""
    convert(ours, tmp_path / "ssm", "mamba-ssm")
    weights = torch.load(tmp_path / "ssm" / "pytorch_model.bin", weights_only=True)
    assert weights.keys() == {*model.state_dict(), "lm_head.weight"}
    assert torch.equal(weights["lm_head.weight"], weights["backbone.embedding.weight"])
    config = json.loads((tmp_path / "ssm" / "config.json").read_text())
    assert (config["d_model"], config["n_layer"], config["vocab_size"]) == (32, 2, 16)
    assert config["ssm_cfg"] == {"layer": "Mamba1", "d_state": 8, "d_conv": 4, "expand": 2, "dt_rank": 2}


@torch.no_grad()
def test_an_old_checkpoint_of_mamba_ssm(tmp_path):
    """As those on the Hub: half precision, a padded vocabulary, an empty ssm_cfg."""
    model = random_model(d_model=32, n_layers=2)
    weights = {name: tensor.half() for name, tensor in model.state_dict().items()}
    weights["lm_head.weight"] = weights["backbone.embedding.weight"]
    (tmp_path / "ssm").mkdir()
    torch.save(weights, tmp_path / "ssm" / "pytorch_model.bin")
    config = {"d_model": 32, "n_layer": 2, "vocab_size": 12, "ssm_cfg": {}, "rms_norm": True, "residual_in_fp32": True,
              "fused_add_norm": True, "pad_vocab_size_multiple": 8}  # fmt: skip
    (tmp_path / "ssm" / "config.json").write_text(json.dumps(config))
    back = read_foreign(tmp_path / "ssm", alphabet="dna")
    assert back.config.vocab_size == 16
    assert {p.dtype for p in back.parameters()} == {torch.float32}
    torch.testing.assert_close(back(random_tokens(1, 20))[0], model(random_tokens(1, 20))[0], rtol=0, atol=0.02)


def test_a_pickle_that_is_more_than_tensors_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return print, ("it ran",)

    (tmp_path / "ssm").mkdir()
    torch.save({"backbone.embedding.weight": Bomb()}, tmp_path / "ssm" / "pytorch_model.bin")
    (tmp_path / "ssm" / "config.json").write_text('{"d_model": 32, "n_layer": 2, "ssm_cfg": {}}')
    with pytest.raises(InputError, match=r"pytorch_model\.bin: damaged, cut short or no plain weights"):
        read_foreign(tmp_path / "ssm", alphabet="dna")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model_type": "llama"}, "of no Mamba-1 model .* it says 'llama'"),
        ({"hidden_act": "gelu"}, "hidden_act: a model with 'gelu' is none of ours, which have 'silu'"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings: a model with False"),
        ({"hidden_size": "wide"}, "d_model: want a whole number"),
        ({"num_hidden_layers": 10**6}, "n_layers: want a whole number"),
        ({"num_hidden_layers": 500}, "tensors for the 500 blocks"),
        ({"state_size": 16}, r"'backbone.layers.0.mixer.A_log' is \[64, 8\]; config.json wants \[64, 16\]"),
        ({"dnamamba_alphabet": "protein"}, "dnamamba_alphabet: want one of dna, bytes, got 'protein'"),
        ({"dnamamba_alphabet": "bytes"}, "vocab_size: alphabet 'bytes' has 256 tokens, got 16"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(ours, tmp_path, changes, message):
    convert(ours, tmp_path / "hf")
    _edit(tmp_path / "hf", **changes)
    with pytest.raises(InputError, match=message):
        convert(tmp_path / "hf", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_damaged_and_foreign_weights_are_refused(ours, tmp_path):
    convert(ours, tmp_path / "hf")
    file = tmp_path / "hf" / "model.safetensors"
    whole = safetensors.torch.load_file(file)
    for change, message in (
        ({"lm_head.weight": torch.zeros(16, 32)}, r"its head is not its embedding \(untied\)"),
        ({"backbone.norm_f.bias": torch.zeros(32)}, "'backbone.norm_f.bias' does not belong"),
        ({"backbone.norm_f.weight": torch.full((32,), torch.nan)}, "holds NaN or infinity"),
    ):
        safetensors.torch.save_file(whole | change, file)
        with pytest.raises(InputError, match=message):
            read_foreign(tmp_path / "hf")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"model\.safetensors: damaged, cut short"):
        dnamamba.load(tmp_path / "hf")
    file.unlink()
    with pytest.raises(InputError, match=r"holds neither model\.safetensors nor pytorch_model\.bin"):
        read_foreign(tmp_path / "hf")


def test_what_cannot_be_written_is_refused(ours, tmp_path):
    twin = save(random_model(**SIZES, mixer="s4d"), tmp_path / "twin")
    with pytest.raises(InputError, match="a model of mixer s4d"):
        convert(twin, tmp_path / "hf")
    other = save(random_model(**SIZES, norm_eps=1e-6), tmp_path / "eps")
    with pytest.raises(InputError, match="norm_eps: mamba-ssm has 1e-5"):
        convert(other, tmp_path / "ssm", "mamba-ssm")
    with pytest.raises(InputError, match="ours: is there already"):
        convert(twin, ours)
    with pytest.raises(InputError, match="leave --alphabet and --tokens out"):
        convert(ours, tmp_path / "hf", tokens=TOKENS)
    assert not (tmp_path / "hf").exists()
    assert not (tmp_path / "ssm").exists()


def test_tokens_name_rows():
    rows = parse_tokens("a=1, C=2,G=3,T=4,N=5,^=0,R=6")
    table = in_dna_order(torch.arange(7.0)[:, None], rows)[:, 0].tolist()
    assert table == [1, 2, 3, 4, 5, 6, 5, 5, 5, 5, 5, 5, 5, 5, 5, 0]  # A C G T N R Y S W K M B D H V ^
    for text, message in (
        ("A=1", "the row of 'C' is missing"),
        ("A=1,C=2,G=3,T=4,N=0", r"the row of '\^' is missing; it is the token that stands before a sequence"),
        ("A=1,A=2", "'A' is there twice"),
        ("A=x", "want A=7,C=8"),
        ("E=1", "'E' is there twice or no letter of DNA"),
    ):
        with pytest.raises(InputError, match=message):
            parse_tokens(text)
    with pytest.raises(InputError, match="R=6, and the model has 6 tokens, 0 to 5"):
        in_dna_order(torch.zeros(6, 1), rows)


def test_the_command(ours, tmp_path):
    answer = CliRunner().invoke(cli, ["convert", str(ours), str(tmp_path / "hf")])
    assert answer.exit_code == 0
    assert answer.stdout.strip().endswith("16 tokens, from dnamamba for huggingface")


def test_a_model_in_a_run_folder_is_found_whoever_wrote_it(model, ours, tmp_path):
    for style in ("huggingface", "dnamamba"):
        run = tmp_path / f"run-{style}"
        run.mkdir()
        convert(ours, run / "model") if style == "huggingface" else ours.rename(run / "model")
        line = convert(run, tmp_path / f"from-{style}", "dnamamba" if style == "huggingface" else "huggingface")
        assert f"from {style} for" in line
        tokens = random_tokens(1, 30)
        assert torch.equal(load(tmp_path / f"from-{style}")(tokens)[0], model(tokens)[0])

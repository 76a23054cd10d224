"""The three ways in which a Mamba's `config.json` is written, and what each must say for the weights to mean the same.

Source: `MambaConfig` of transformers (model_type "mamba") and `MambaConfig` of mamba-ssm (d_model, n_layer, ssm_cfg).
"""

from collections.abc import Mapping
from typing import Any, Literal

from dnamamba.errors import InputError
from dnamamba.model import ModelConfig
from dnamamba.model.config import ALPHABET_SIZE, SELECTIVE

Style = Literal["dnamamba", "huggingface", "mamba-ssm"]
ALPHABET_KEY = "dnamamba_alphabet"
"""Key that we add to foreign configs: the alphabet whose tokens the rows of the embedding are."""

# Key -> the only value with which the model is the one that we have; a key that is not there has that value.
_HUGGINGFACE = {"hidden_act": "silu", "use_bias": False, "use_conv_bias": True, "tie_word_embeddings": True}
_MAMBA_SSM = {"rms_norm": True, "tie_embeddings": True, "d_intermediate": 0, "attn_layer_idx": []}
_SSM_CFG = ("d_state", "d_conv", "expand", "dt_rank")


def style_of(data: object, where: object) -> Style:
    """Who wrote a config.

    Raises:
        InputError: none of the three, or a model that is no Mamba-1.
    """
    if isinstance(data, dict):
        if data.get("format") == "dnamamba-model":
            return "dnamamba"
        if data.get("model_type") == "mamba":
            return "huggingface"
        if "ssm_cfg" in data and "d_model" in data:
            return "mamba-ssm"
    kind = data.get("model_type") if isinstance(data, dict) else None
    says = f"; it says {kind!r}" if kind else ""
    raise InputError(f"{where}: of no Mamba-1 model that dnamamba, transformers or mamba-ssm wrote{says}")


def read_foreign_config(data: Mapping[str, Any], style: Style, where: object) -> tuple[dict[str, Any], str | None]:
    """Arguments of `ModelConfig` but for vocabulary and alphabet, and the name of the alphabet if we wrote it there.

    Raises:
        InputError: a setting that our model does not have.
    """
    if style == "huggingface":
        _must(data, _HUGGINGFACE, where)
        shape = {
            "d_model": data.get("hidden_size"), "n_layers": data.get("num_hidden_layers"),
            "d_state": data.get("state_size", 16), "d_conv": data.get("conv_kernel", 4),
            "expand": data.get("expand", 2), "norm_eps": data.get("layer_norm_epsilon", 1e-5),
        }  # fmt: skip
        rank = data.get("time_step_rank", "auto")
    else:
        _must(data, _MAMBA_SSM, where)
        cfg = dict(data["ssm_cfg"] or {})
        if cfg.get("layer", "Mamba1") != "Mamba1":
            raise InputError(f"{where}: ssm_cfg.layer: want Mamba1, got {cfg['layer']!r}")
        _must(cfg, {"bias": False, "conv_bias": True}, where)
        shape = {"d_model": data["d_model"], "n_layers": data.get("n_layer")}
        shape |= {key: cfg[key] for key in _SSM_CFG[:3] if key in cfg}
        rank = cfg.get("dt_rank", "auto")
    alphabet = data.get(ALPHABET_KEY)
    if alphabet is not None and alphabet not in ALPHABET_SIZE:
        raise InputError(f"{where}: {ALPHABET_KEY}: want one of {', '.join(ALPHABET_SIZE)}, got {alphabet!r}")
    return {**shape, "dt_rank": None if rank == "auto" else rank}, alphabet


def foreign_config(config: ModelConfig, style: Style) -> dict[str, Any]:
    """A config for transformers or mamba-ssm.

    Raises:
        InputError: a mixer that they do not have.
    """
    if config.mixer != "mamba" or config.selective != SELECTIVE:
        raise InputError(f"a model of mixer {config.mixer} that selects {list(config.selective)} is known to no other")
    if style == "huggingface":
        return {
            "architectures": ["MambaForCausalLM"],
            "model_type": "mamba",
            "vocab_size": config.vocab_size,
            "hidden_size": config.d_model,
            "intermediate_size": config.d_inner,
            "num_hidden_layers": config.n_layers,
            "state_size": config.d_state,
            "conv_kernel": config.d_conv,
            "expand": config.expand,
            "time_step_rank": config.rank,
            "layer_norm_epsilon": config.norm_eps,
            "residual_in_fp32": True,
            "torch_dtype": "float32",
            "bos_token_id": None, "eos_token_id": None, "pad_token_id": None,
            **_HUGGINGFACE,
            ALPHABET_KEY: config.alphabet,
        }  # fmt: skip
    if config.norm_eps != 1e-5:
        raise InputError(f"norm_eps: mamba-ssm has 1e-5 and no key for it, the model has {config.norm_eps}")
    return {
        "d_model": config.d_model,
        "n_layer": config.n_layers,
        "vocab_size": config.vocab_size,
        "ssm_cfg": {
            "layer": "Mamba1", "d_state": config.d_state, "d_conv": config.d_conv, "expand": config.expand,
            "dt_rank": config.rank,
        },
        "rms_norm": True,
        "residual_in_fp32": True,
        "fused_add_norm": True,
        "pad_vocab_size_multiple": 1,
        "tie_embeddings": True,
    }  # fmt: skip


def _must(data: Mapping[str, Any], wanted: Mapping[str, Any], where: object) -> None:
    for key, value in wanted.items():
        if data.get(key, value) != value:
            raise InputError(f"{where}: {key}: a model with {data[key]!r} is none of ours, which have {value!r}")

"""Stages, whole steps, borders and the messages of a bad curriculum."""

import pytest

from dnamamba.config import from_dict
from dnamamba.curriculum import CurriculumConfig, Stage
from dnamamba.errors import InputError


def _stages(*pairs):
    return tuple(Stage(context=context, share=share) for context, share in pairs)


def test_shares_become_whole_steps_by_largest_remainder():
    config = CurriculumConfig(stages=_stages((1, 0.34), (2, 0.33), (4, 0.33)), tokens_per_step=4, total_tokens=4 * 10)
    assert config.stage_steps == (4, 3, 3)  # 3.4, 3.3, 3.3: the one step left goes to .4
    assert config.borders == (4, 7, 10)
    assert [config.at(step).stage for step in range(10)] == [0] * 4 + [1] * 3 + [2] * 3
    assert (config.at(4).step, config.at(6).step, config.at(6).context) == (0, 2, 2)


@pytest.mark.parametrize("total", [10, 97, 1000, 12345])
def test_no_step_is_lost(total):
    shares = [0.1, 0.2, 0.3, 0.15, 0.25]
    config = CurriculumConfig(
        stages=_stages(*((2**i, share) for i, share in enumerate(shares))), tokens_per_step=16, total_tokens=16 * total
    )
    assert sum(config.stage_steps) == config.total_steps == total
    assert all(abs(steps - share * total) < 1 for steps, share in zip(config.stage_steps, shares, strict=True))


def test_shares_with_few_decimals_are_scaled():
    config = CurriculumConfig(
        stages=_stages(*((2**i, 0.1667) for i in range(6))), tokens_per_step=32, total_tokens=32 * 600
    )
    assert config.stage_steps == (100,) * 6


def test_steps_outside_the_training_are_refused():
    config = CurriculumConfig(stages=_stages((1, 1.0)), tokens_per_step=1, total_tokens=3)
    for step in (-1, 3):
        with pytest.raises(IndexError, match=f"step {step} of a training of 3"):
            config.at(step)


def test_is_read_from_yaml_values():
    config = from_dict(
        CurriculumConfig,
        {"stages": [{"context": "1k", "share": 0.5}, {"context": "16k", "share": 0.5}], "total_tokens": "64M"},
        "curriculum",
    )
    assert [stage.context for stage in config.stages] == [1024, 16384]
    assert config.stage_steps == (32, 32)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"stages": ()}, "curriculum.stages: contexts must be positive and growing"),
        ({"stages": _stages((4, 0.5), (2, 0.5))}, r"growing, got \[4, 2\]"),
        ({"stages": _stages((4, 0.5), (4, 0.5))}, "growing"),
        ({"stages": _stages((4, 0.5), (6, 0.5)), "tokens_per_step": 16}, "tokens_per_step: 16 is no multiple of all"),
        ({"stages": _stages((4, 0.5), (8, 0.6)), "tokens_per_step": 16}, "add up to 1.1, want 1"),
        ({"stages": _stages((4, 1.5), (8, -0.5)), "tokens_per_step": 16}, r"stages\[0\].share: want above 0"),
        (
            {"stages": _stages((4, 0.9), (8, 0.1)), "tokens_per_step": 16, "total_tokens": 32},
            r"total_tokens: 32 leaves no step for stages\[1\] \(context 8\); want about 160",
        ),
    ],
)
def test_bad_values_name_their_key(values, message):
    with pytest.raises(InputError, match=message):
        CurriculumConfig(**values)

"""Stages, whole steps, borders and the messages of a bad curriculum."""

import pytest

from dnamamba.config import from_dict, to_dict
from dnamamba.curriculum import CurriculumConfig, Doubling, Stage
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


def test_doubling_is_stages_in_short():
    plain = CurriculumConfig(doubling=Doubling(first=1, last=8), tokens_per_step=8, total_tokens=8 * 100)
    assert [(stage.context, stage.share) for stage in plain.stages] == [(1, 0.25), (2, 0.25), (4, 0.25), (8, 0.25)]
    warm = from_dict(CurriculumConfig, {"doubling": {"last": "4k", "share": 0.1}}, "curriculum")
    assert [stage.context for stage in warm.stages] == [1024, 2048, 4096]
    assert [stage.share for stage in warm.stages] == pytest.approx([0.1, 0.1, 0.8])
    assert from_dict(CurriculumConfig, to_dict(warm)) == warm
    alone = CurriculumConfig(doubling=Doubling(first=4, last=4), tokens_per_step=8, total_tokens=80)
    assert alone.stages == _stages((4, 1.0))


@pytest.mark.parametrize(
    "values, message",
    [
        ({"first": 3, "last": 8}, "doubling: want last = first times a power of two, got first 3 and last 8"),
        ({"first": 4, "last": 12}, "times a power of two, got first 4 and last 12"),
        ({"first": 8, "last": 4}, "times a power of two, got first 8 and last 4"),
        ({"first": 1, "last": 8, "share": 0.4}, "share: want above 0 and below 1/3, .* of 4 stages, got 0.4"),
        ({"first": 1, "last": 8, "share": 0.0}, "share: want above 0 and below 1/3, .* got 0.0"),
    ],
)
def test_a_bad_doubling_is_refused(values, message):
    with pytest.raises(InputError, match=f"curriculum.doubling.*{message}|curriculum.{message}"):
        Doubling(**values)


@pytest.mark.parametrize("none", [None, []])
def test_stages_give_way_to_doubling_and_doubling_to_stages(none):
    stages, sizes = [{"context": 2, "share": 1.0}], {"tokens_per_step": 8, "total_tokens": 80}
    doubling = {"first": 1, "last": 8}
    short = from_dict(CurriculumConfig, {"stages": none, "doubling": doubling, **sizes}, "curriculum")
    assert short == CurriculumConfig(doubling=Doubling(**doubling), **sizes)
    listed = from_dict(CurriculumConfig, {"stages": stages, "doubling": None, **sizes}, "curriculum")
    assert listed == CurriculumConfig(stages=_stages((2, 1.0)), **sizes)
    with pytest.raises(InputError, match="contexts must be positive and growing"):
        from_dict(CurriculumConfig, {"stages": none, **sizes}, "curriculum")


def test_stages_and_doubling_are_not_mixed():
    with pytest.raises(InputError, match=r"give `stages` or `doubling`, not both; curriculum\.stages=null or .*=null"):
        CurriculumConfig(
            stages=_stages((2, 1.0)), doubling=Doubling(first=1, last=8), tokens_per_step=8, total_tokens=80
        )

"""What a recipe costs: hours from measured tokens a second, and the line that says so at the head of its file.

`python -m dnamamba.recipes` writes the lines anew after configs/_measured.yaml has changed.
"""

import re
from dataclasses import dataclass
from math import exp, log
from pathlib import Path

from dnamamba.config import format_size, from_dict, parse_size, read_yaml
from dnamamba.configs_of_package import CONFIGS
from dnamamba.curriculum import CurriculumConfig, Doubling
from dnamamba.errors import InputError
from dnamamba.pretrain_config import PretrainConfig, read_config

MARK = "# Wants "
"""How the line begins."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Tokens a second of the training loop on one device."""

    device: str
    tokens_per_second: dict[str, dict[str, float]]
    """Width x blocks -> context -> tokens a second."""

    def rate(self, model: str, context: int) -> float:
        """Tokens a second at a context; between two measured ones along a line in the logarithms.

        Raises:
            InputError: the model was not measured.
        """
        if model not in self.tokens_per_second:
            known = ", ".join(self.tokens_per_second)
            raise InputError(f"_measured.yaml: no tokens a second of {model}; there are {known}")
        points = sorted((parse_size(text), value) for text, value in self.tokens_per_second[model].items())
        below = [point for point in points if point[0] <= context] or points[:1]
        above = [point for point in points if point[0] >= context] or points[-1:]
        (first, low), (last, high) = below[-1], above[0]
        if first == last:
            return low
        share = log(context / first) / log(last / first)
        return exp((1 - share) * log(low) + share * log(high))


def read_measured() -> Measured:
    """The table that comes with the package."""
    return from_dict(Measured, read_yaml(CONFIGS / "_measured.yaml"), "_measured.yaml")


def hours(config: PretrainConfig, measured: Measured) -> float:
    """Hours of training steps on one device, validation and the final measurement not counted."""
    curriculum, model = config.curriculum, f"{config.model.d_model}x{config.model.n_layers}"
    seconds = sum(
        steps * curriculum.tokens_per_step / measured.rate(model, stage.context)
        for stage, steps in zip(curriculum.stages, curriculum.stage_steps, strict=True)
    )
    return seconds / 3600


def cost_line(config: PretrainConfig, measured: Measured) -> str:
    """What the run wants, as a comment; for a doubling curriculum also when it ends at a shorter context."""
    curriculum = config.curriculum
    tokens = curriculum.total_steps * curriculum.tokens_per_step
    line = f"{MARK}{_hours(hours(config, measured))} on one {measured.device} for {tokens / 1e9:,.1f} G tokens"
    doubling = curriculum.doubling
    if doubling is None:
        return f"{line}."
    shorter = []
    for context in (stage.context for stage in curriculum.stages[:-1:2]):
        ends = CurriculumConfig(
            doubling=Doubling(first=doubling.first, last=context, share=doubling.share),
            tokens_per_step=curriculum.tokens_per_step,
            total_tokens=curriculum.total_tokens,
        )
        one = PretrainConfig(model=config.model, curriculum=ends)
        shorter.append(f"{format_size(context)} {hours(one, measured):.0f}")
    return f"{line}; hours to {', '.join(shorter)}."


def recipes() -> list[Path]:
    """Configs that carry such a line."""
    return sorted(CONFIGS.glob("hg38-*.yaml"))


def with_cost(text: str, line: str) -> str:
    """A config's text with its line put in place of the one that was there."""
    return re.sub(rf"^{MARK}.*$", lambda _: line, text, flags=re.MULTILINE)


def _hours(value: float) -> str:
    return f"{value * 60:.0f} minutes" if value < 1 else f"{value:.1f} hours" if value < 20 else f"{value:.0f} hours"


if __name__ == "__main__":
    for path in recipes():
        path.write_text(with_cost(path.read_text(), cost_line(read_config(str(path), [], []), read_measured())))
        print(path.name)

"""The rules by which an operating point is chosen, as they are written: `youden`, `sensitivity:0.95`."""

from dataclasses import dataclass
from typing import Literal

from pneumocli.core.errors import SettingError

RULES = "youden, f1, sensitivity:X, specificity:X or a threshold, numbers being from 0 to 1"

RuleKind = Literal["youden", "f1", "sensitivity", "specificity", "threshold"]
MAXIMA: tuple[RuleKind, ...] = ("youden", "f1")
FLOORS: tuple[RuleKind, ...] = ("sensitivity", "specificity")


@dataclass(frozen=True)
class Rule:
    """A rule in its parts.

    Attributes:
        kind: what is asked for.
        value: the least sensitivity or specificity, or the threshold itself, 0 to 1; None for `youden`
            and `f1`, which look for a maximum.
    """

    kind: RuleKind
    value: float | None = None


def parse_rule(rule: str) -> Rule:
    """Return the parts of a written rule.

    Raises:
        SettingError: there is no such rule, or its number is not one from 0 to 1.
    """
    word, colon, number = rule.partition(":")
    for kind in MAXIMA:
        if rule == kind:
            return Rule(kind)
    for kind in FLOORS:
        if colon and word == kind:
            return Rule(kind, _parse_share(rule, number))
    return Rule("threshold", _parse_share(rule, rule))


def is_threshold(rule: str) -> bool:
    """Return whether a rule as it is written, or as a model file has it, is a number and looks for none."""
    try:
        return parse_rule(rule).kind == "threshold"
    except SettingError:
        return False


def _parse_share(rule: str, number: str) -> float:
    try:
        share = float(number)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:  # which not-a-number is not, either
        raise SettingError(f"there is no rule {rule!r}; choose from: {RULES}")
    return share

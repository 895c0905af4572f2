"""Written rules: what each means, and what is refused."""

import pytest

from pneumocli.core.config import choose_config
from pneumocli.core.errors import SettingError
from pneumocli.core.rule import Rule, parse_rule


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ("youden", Rule("youden")),
        ("f1", Rule("f1")),
        ("sensitivity:0.95", Rule("sensitivity", 0.95)),
        ("specificity:.9", Rule("specificity", 0.9)),
        ("sensitivity:1", Rule("sensitivity", 1.0)),
        ("specificity:0", Rule("specificity", 0.0)),
        ("0.5", Rule("threshold", 0.5)),
        ("0", Rule("threshold", 0.0)),
        ("1", Rule("threshold", 1.0)),
        ("5e-1", Rule("threshold", 0.5)),
    ],
)
def test_rule_in_its_parts(written: str, rule: Rule) -> None:
    assert parse_rule(written) == rule


BAD = ["", "Youden", "best", "sensitivity", "sensitivity:", "sensitivity:high", "specificity:95", "1.01"]
BAD += ["-0.1", "nan", "inf", "f1:0.5", "youden:1", "accuracy:0.9", "0,5", "sensitivity:0.9:0.8", "95 %"]


@pytest.mark.parametrize("written", BAD)
def test_bad_rule_is_named_in_one_line(written: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse_rule(written)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert repr(written) in line
    assert "sensitivity:X" in line


def test_bad_rule_is_a_bad_setting() -> None:
    with pytest.raises(SettingError, match=r"^setting rule: give youden, .*; received 'best'$"):
        choose_config(rule="best")


def test_rule_is_a_setting() -> None:
    assert choose_config().rule == "youden"
    assert choose_config(rule="specificity:0.95").rule == "specificity:0.95"

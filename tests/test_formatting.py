"""How numbers are written, and that pictures and pages share one palette."""

import re

import pytest

from maspo.lab.formatting import (
    duration,
    interval_text,
    percent,
    percent_with_interval,
    points,
    points_with_interval,
    shortened,
    significant,
    updates,
)
from maspo.lab.page import TEMPLATES
from maspo.lab.run.report import write_report
from maspo.lab.style import COLORS

MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (0.254, 0, "+25"), (-0.254, 1, MINUS + "25.4"), (-0.0004, 1, "0.0"), (0.0, 0, "0"),
        (-0.004, 0, "0"), (-0.0, 1, "0.0"), (0.0005, 1, "+0.1"), (1.0, 2, "+100.00"),
    ],
)  # fmt: skip
def test_a_difference_has_a_sign_unless_it_is_shown_as_zero(value, digits, expected):
    assert points(value, digits) == expected


def test_shares_and_intervals_have_one_form():
    assert (percent(0.125), percent(0.125, 1)) == ("12%", "12.5%")
    assert interval_text(0.402, 0.52) == "[40.2, 52.0]"
    assert interval_text(-0.03, 0.0001, signed=True) == f"[{MINUS}3.0, 0.0]"
    assert interval_text(None, 0.5) == interval_text(0.5, None) == ""
    assert percent_with_interval(0.46, 0.402, 0.52) == "46.0% [40.2, 52.0]"
    assert percent_with_interval(0.46, None, None) == "46.0%"
    assert points_with_interval(0.33, 0.27, 0.39, 0) == "+33 [+27, +39]"
    assert points_with_interval(-0.33, None, None) == MINUS + "33.0"


def test_other_words():
    assert (updates(1), updates(4)) == ("1 update per rollout", "4 updates per rollout")
    assert [duration(x) for x in (3.4, 119, 120, 7199, 7500)] == [
        "3 s", "119 s", "2 min", "2 h 0 min", "2 h 5 min",
    ]  # fmt: skip
    assert (shortened("a" * 13), shortened("a" * 14)) == ("a" * 13, "a" * 12 + "…")
    assert (significant(1 / 3), significant(None), significant(123456.0)) == (0.33333, None, 123460)


def test_pages_take_their_colors_from_the_palette(tmp_path):
    page = write_report(tmp_path).read_text("utf-8")
    light = page[: page.index("@media")]
    for name, color in COLORS.items():
        assert f"--{name}: {color.lower()};" in light, name
    for file in TEMPLATES.iterdir():
        named = set(re.findall(r"--(\w+):", file.read_text("utf-8")))
        assert not named & set(COLORS), f"{file.name} has a color of its own"

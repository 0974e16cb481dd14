"""Numbers in pictures stand as Grafana would write them."""

from __future__ import annotations

import pytest

from grafana.__main__ import boards
from grafana.pictures.units import ticks, told


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (0, "short", None, "0"),
        (1234, "short", None, "1.23K"),
        (567, "short", 0, "567"),
        (0.0000012, "short", None, "1e-06"),
        (0.068, "percentunit", 1, "6.8%"),
        (0.5, "percentunit", None, "50%"),
        (12, "s", 0, "12 s"),
        (0.048, "s", None, "48 ms"),
        (60, "s", None, "1 min"),
        (6516, "s", 1, "1.8 hours"),
        (86_400, "s", None, "1 day"),
        (7.072, "currencyUSD", 2, "$7.07"),
        (3 * 2**20, "bytes", None, "3 MiB"),
        (0.15, "reqps", None, "0.15 req/s"),
        (600, "suffix: /h", None, "600 /h"),
    ],
)
def test_a_number_in_its_unit(value: float, unit: str, decimals: int | None, text: str) -> None:
    assert told(value, unit, decimals) == text


def test_every_unit_of_a_panel_can_be_written() -> None:
    for board in boards():
        for panel in board["panels"]:
            for options in [panel.get("fieldConfig", {}).get("defaults", {})]:
                assert told(1.5, options.get("unit", "short"))


@pytest.mark.parametrize("highest", [1e-6, 0.07, 1, 3, 19, 240, 5_000, 9e6])
@pytest.mark.parametrize("unit", ["short", "s", "bytes"])
def test_axes_have_a_few_round_numbers_from_zero_to_the_top(highest: float, unit: str) -> None:
    found = ticks(highest, unit)
    assert found[0] == 0
    assert 2 <= len(found) <= 6 or highest > 86_400 * 4
    assert found[-1] <= highest * 1.000001

"""When a scene was seen, as names and items tell it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from geounet.errors import OptionError
from geounet.stac import When

NAMES = {
    "S2A_MSIL2A_20230102T101010_N0509_R022_T32UNU_20230102T133000.SAFE": "2023-01-02T10:10:10Z",
    "T32UNU_20230102T101010_B02_10m.jp2": "2023-01-02T10:10:10Z",
    "S2B_32UNU_20230102_0_L2A.water-ms.tif": ("2023-01-02T00:00:00Z", "2023-01-02T23:59:59Z"),
    "LC08_L2SP_042034_20170616_20200903_02_T1_SR_B1.TIF": (
        "2017-06-16T00:00:00Z",
        "2017-06-16T23:59:59Z",
    ),
    "LC80420342017167LGN00_B1.TIF": ("2017-06-16T00:00:00Z", "2017-06-16T23:59:59Z"),
    "HLS.S30.T32UNU.2023002T101010.v2.0.B02.tif": "2023-01-02T10:10:10Z",
    "S1A_IW_GRDH_1SDV_20210101T050935_20210101T051000_035943_0435C4_FC5A": (
        "2021-01-01T05:09:35Z",
        "2021-01-01T05:10:00Z",
    ),
    "s1a-iw-grd-vv-20210101t050935-20210101t051000-035943-0435c4-001.tiff": (
        "2021-01-01T05:09:35Z",
        "2021-01-01T05:10:00Z",
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_products(name) -> None:
    told, wanted = When.in_name(name).properties(), NAMES[name]
    if isinstance(wanted, str):
        assert told == {"datetime": wanted}
    else:
        start, end = wanted
        assert told == {"datetime": None, "start_datetime": start, "end_datetime": end}


@pytest.mark.parametrize(
    "name", ["scene.tif", "flood_20210101.tif", "S2B_32UNU_20230231_0_L2A", "20230102T101010.tif"]
)
def test_other_names_tell_nothing(name) -> None:
    assert When.in_name(name) is None


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        ({"datetime": "2023-01-02T03:04:05Z"}, {"datetime": "2023-01-02T03:04:05Z"}),
        ({"datetime": "2023-01-02T03:04:05+02:00"}, {"datetime": "2023-01-02T01:04:05Z"}),
        ({"datetime": "2023-01-02T03:04:05"}, {"datetime": "2023-01-02T03:04:05Z"}),
        (
            {
                "datetime": None,
                "start_datetime": "2023-01-02T00:00:00Z",
                "end_datetime": "2023-01-03T00:00:00.5Z",
            },
            {
                "datetime": None,
                "start_datetime": "2023-01-02T00:00:00Z",
                "end_datetime": "2023-01-03T00:00:00.500000Z",
            },
        ),
        ({"datetime": None}, None),
        ({"datetime": "yesterday"}, None),
        ({}, None),
    ],
)
def test_items(properties, told) -> None:
    when = When.of_properties(properties)
    assert (when and when.properties()) == told


def test_several_are_a_range() -> None:
    days = [When.at(datetime(2023, 1, day, tzinfo=UTC)) for day in (3, 1, 2)]
    whole = When.around(days)
    assert (whole.start.day, whole.end.day) == (1, 3)
    assert When.around([]) is None


def test_what_is_no_time() -> None:
    late, early = (datetime(2023, 1, day, tzinfo=UTC) for day in (2, 1))
    with pytest.raises(OptionError, match="is no time"):
        When(start=late, end=early)
    with pytest.raises(OptionError, match="with a time zone"):
        When(start=datetime(2023, 1, 1), end=early)  # noqa: DTZ001
    assert When.at(datetime(2023, 1, 1)) == When.at(early)  # noqa: DTZ001

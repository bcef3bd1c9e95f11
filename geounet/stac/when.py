"""When a scene was seen: as items and file names tell it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from geounet.errors import OptionError

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
"""No satellite scene that can be segmented is older; Landsat 1 started in 1972."""

_STAMP = r"(?P<{0}>(?:19|20)\d{{6}}T\d{{6}})"
_DATE = r"(?P<day>(?:19|20)\d{6})"
_NAMES = tuple(
    re.compile(pattern)
    for pattern in (
        # S1A_IW_GRDH_1SDV_20210101T050935_20210101T051000_...
        rf"S1[ABCD]_.{{2}}_.{{4}}_.{{4}}_{_STAMP.format('start')}_{_STAMP.format('end')}",
        # s1a-iw-grd-vv-20210101t050935-20210101t051000-...
        rf"S1[ABCD]-.{{2}}-.{{3}}-.{{2}}-{_STAMP.format('start')}-{_STAMP.format('end')}",
        # S2A_MSIL2A_20230101T101010_..., T32UNU_20230101T101010_B02
        rf"(?:S2[ABCD]_MSIL\d[A-C]|T\d{{2}}[A-Z]{{3}})_{_STAMP.format('start')}",
        # S2B_20HMD_20221023_0_L2A
        rf"S2[ABCD]_\d{{1,2}}[A-Z]{{3}}_{_DATE}",
        # LC08_L2SP_042034_20170616_20170629_02_T1: seen, then processed
        rf"L[CEMOT]0[1-9]_[A-Z0-9]{{4}}_\d{{6}}_{_DATE}",
        # LC80420342017167LGN00: year and day of the year
        r"L[CEMOT][1-9]\d{6}(?P<ordinal>(?:19|20)\d{5})",
        # HLS.S30.T32UNU.2023001T101010.v2.0
        r"HLS\.[LS]30\.T\d{2}[A-Z]{3}\.(?P<hls>(?:19|20)\d{5}T\d{6})",
    )
)
_LAYOUTS = {"day": "%Y%m%d", "ordinal": "%Y%j", "hls": "%Y%jT%H%M%S"}


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """A time, or the time from start to end."""

    start: datetime
    """With a time zone."""
    end: datetime
    """With a time zone, not before the start."""

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None or self.end < self.start:
            raise OptionError(f"{self.start} to {self.end} is no time: give both with a time zone")

    @classmethod
    def at(cls, time: datetime) -> When:
        """An instant; without a time zone it is in UTC."""
        time = time if time.tzinfo else time.replace(tzinfo=UTC)
        return cls(start=time, end=time)

    @classmethod
    def around(cls, times: Iterable[When]) -> When | None:
        """From the first start to the last end; None where there is none."""
        found = list(times)
        if not found:
            return None
        return cls(start=min(t.start for t in found), end=max(t.end for t in found))

    @classmethod
    def before(cls, made: datetime) -> When:
        """Of what nobody knows more than that it was there when something was made of it."""
        return cls(start=min(_EARLIEST, made), end=made)

    @classmethod
    def of_properties(cls, properties: Mapping[str, Any]) -> When | None:
        """What an item says; None where that is nothing, or no time."""
        try:
            if isinstance(properties.get("datetime"), str):
                return cls.at(_parsed(properties["datetime"]))
            start, end = properties["start_datetime"], properties["end_datetime"]
            return cls(start=_parsed(start), end=_parsed(end))
        except (KeyError, TypeError, ValueError):
            return None

    @classmethod
    def in_name(cls, text: str) -> When | None:
        """What the name of a Sentinel-1, Sentinel-2, Landsat or HLS product says.

        A day without a time is the whole day, in UTC.
        """
        for pattern in _NAMES:
            found = pattern.search(text.upper())
            if found is not None:
                try:
                    return _of_groups(found.groupdict())
                except ValueError:  # such as the 31st of February: a number, no date
                    continue
        return None

    def properties(self) -> dict[str, str | None]:
        """As an item says it: ``datetime`` is null where that is a range."""
        start, end = _text(self.start), _text(self.end)
        if start == end:
            return {"datetime": start}
        return {"datetime": None, "start_datetime": start, "end_datetime": end}


def _of_groups(groups: Mapping[str, str]) -> When:
    def read(text: str, layout: str = "%Y%m%dT%H%M%S") -> datetime:
        return datetime.strptime(text, layout).replace(tzinfo=UTC)

    kind = next(iter(groups))
    if kind == "start":
        start = read(groups["start"])
        return When(start=start, end=read(groups["end"]) if "end" in groups else start)
    time = read(groups[kind], _LAYOUTS[kind])
    return When(start=time, end=time if kind == "hls" else time + _DAY - _SECOND)


def _parsed(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _text(time: datetime) -> str:
    kind = "microseconds" if time.microsecond else "seconds"
    return time.astimezone(UTC).isoformat(timespec=kind).replace("+00:00", "Z")

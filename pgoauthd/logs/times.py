"""Reads the server's timestamps as seconds since the epoch; never asks what time it is."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

_UNIVERSAL = frozenset({"UTC", "GMT", "Z", "Etc/UTC"})
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)?")
_SECOND_CHARS = len("2026-11-22 01:11:56")
_MILLI_CHARS = len("2026-11-22 01:11:56.039")
_MAX_REMEMBERED = 4096


class Timestamps:
    """Timestamps of one log, written in `log_timezone`.

    UTC, GMT and numeric offsets are taken as they stand. Any other abbreviation is read in `zone` (abbreviations are
    ambiguous), and only tells the two passes of an hour apart that comes twice when summer time ends.
    """

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._abbreviation = ""
        self._seconds: dict[str, int] = {}
        """Milliseconds since the epoch of what was read last: most lines share their second with their neighbours."""
        self._rests: dict[str, int] = {}
        """Milliseconds of what follows the second: there are a thousand, with one abbreviation at a time."""

    def read(self, text: str) -> float:
        """Seconds since the epoch of `YYYY-MM-DD HH:MM:SS.mmm ZONE` (as %m writes it); ValueError if it is not."""
        try:
            return (self._seconds[text[:_SECOND_CHARS]] + self._rests[text[_SECOND_CHARS:]]) / 1000
        except KeyError:
            return self._learn(text) / 1000

    def read_second(self, text: str) -> float:
        """The same of `YYYY-MM-DD HH:MM:SS ZONE` (as %t and %s write it)."""
        return self.read(f"{text[:_SECOND_CHARS]}.000{text[_SECOND_CHARS:]}")

    def _learn(self, text: str) -> int:
        """Milliseconds since the epoch, of which the parts are remembered."""
        second, rest, abbreviation = text[:_SECOND_CHARS], text[_SECOND_CHARS:], text[_MILLI_CHARS:]
        if abbreviation != self._abbreviation or len(self._seconds) + len(self._rests) >= _MAX_REMEMBERED:
            self._abbreviation, self._seconds, self._rests = abbreviation, {}, {}
        moment = datetime.fromisoformat(second).replace(tzinfo=None)
        self._seconds[second] = int(self._place(moment, abbreviation.strip()).timestamp()) * 1000
        self._rests[rest] = int(text[_SECOND_CHARS + 1 : _MILLI_CHARS])
        return self._seconds[second] + self._rests[rest]

    def _place(self, moment: datetime, abbreviation: str) -> datetime:
        if abbreviation in _UNIVERSAL:
            return moment.replace(tzinfo=UTC)
        if offset := _OFFSET.fullmatch(abbreviation):
            sign, hours, minutes = offset.groups()
            distance = timedelta(hours=int(hours), minutes=int(minutes or 0))
            return moment.replace(tzinfo=timezone(-distance if sign == "-" else distance))
        local = moment.replace(tzinfo=self._zone)
        later = local.replace(fold=1)
        return later if later.tzname() == abbreviation and local.tzname() != abbreviation else local

"""Which columns a list of clips has: a list that the field publishes, a table with a header, or plain lines.

A recognised layout holds for the whole file: a row that does not follow it is refused, never guessed.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

from components.core.raw.clip_names import youtube_id_of
from components.core.records.annotations import SPLITS
from components.core.records.changes import Changes, Kind
from components.core.run.errors import AvisError

UNDERSTOOD = (
    "Understood are: an id or address, alone or with start and end; AudioSet (id, start, end, labels), "
    "AudioSet-strong (segment, start, end, label); "
    "VGGSound (id, start, label, split); AVSpeech (id, start, end, x, y); Kinetics (label, id, start, end, "
    "split); ACAV (id, start; the file's name holds 'acav'); and any table whose first line names its "
    "columns, such as: youtube_id,start_s,end_s,split."
)
_PLAIN, _TABLE = "ids and addresses", "a table with a header"
_LENGTHS_S = {"acav": ("ACAV", 10.0), "vggsound": ("VGGSound", 10.0)}  # by what the file's name holds
_SPLIT_NAMES = {name: name for name in SPLITS} | {
    "training": "train",
    "validate": "val",
    "validation": "val",
    "valid": "val",
    "testing": "test",
    "holdout_test": "test",  # of Kinetics
}
_STRONG = "AudioSet-strong"
_SEGMENT = re.compile(r"(?P<id>[\w-]{11})_(?P<start_ms>\d{1,9})")  # where AudioSet's 10 s begin
_DECIMAL_COMMA = re.compile(r"([\d:]+),(\d{1,9})")
_TIME = re.compile(r"(\d{1,6}:){0,2}\d{1,6}(\.\d{1,9})?")
_IDS = re.compile(r"ytid|(youtube|video|yt)?_?(id|url|address)|source")
_STARTS, _ENDS = (
    re.compile(rf"({word}(_time)?|time_{word})(_(in_)?(s|sec|secs|seconds|ms|msec|milliseconds))?")
    for word in ("(start|begin)", "(end|stop)")
)
_DURATIONS = re.compile(r"(duration|length)(_(in_)?(s|sec|secs|seconds|ms|msec|milliseconds))?")
_SPLIT_COLUMNS = re.compile(r"split|subset")
_OF_TIME = re.compile(
    r"(.*_)?(start|begin|end|stop|times?|s|secs?|seconds|ms|duration|length|offset|onset|from|to|frames?)(_.*)?"
)
_LONG_S = 3600  # a part that is longer may be one in milliseconds,
_LATE_S, _LONG_LATE_S = 1000, 600  # and so may a shorter one that begins late


@dataclass(frozen=True, slots=True)
class Row:
    """What one line says.

    source: a YouTube id or an address, not yet checked; split: of SPLITS.
    """

    line: int
    source: str
    start_s: float | None = None
    end_s: float | None = None
    split: str | None = None


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a list has what: indices of its columns.

    ends_after_start: the end's column tells how long the clip is.
    length_s: of each clip, where the list gives no end; fewest, most: columns of a row.
    """

    name: str
    source: int = 0
    start: int | None = 1
    end: int | None = 2
    ends_after_start: bool = False
    split: int | None = None
    length_s: float | None = None
    milliseconds: tuple[bool, bool] = (False, False)
    fewest: int = 3
    most: int | None = None


class PublishedList:
    """The rows of a list, one after another.

    name: of the recognised list, once its first row was read; changes: what is read otherwise than it stands
    there, and what was filled in.
    """

    def __init__(self, lines: Iterable[str], where: str) -> None:
        self.name = _PLAIN
        self.changes = Changes()
        self._lines, self._where = lines, where
        self._segments: set[str] = set()

    def __iter__(self) -> Iterator[Row]:
        """Read the rows.

        Raises:
            AvisError: a row is not understood; it names the line.
        """
        layout: _Layout | None = None
        delimiter, is_first = " ", True
        commented: list[str] = []
        for number, line in enumerate(self._lines, start=1):
            text = line.removeprefix("\ufeff").strip(" \r\n\v\f")
            place = f"{self._where}, line {number}"
            _refuse_lost_ids(text, place)
            if is_first and re.fullmatch(r"sep=.?", text):  # Excel's word for its delimiter
                continue
            if text.lstrip('"').startswith("#"):
                commented = _audioset_header(text) or commented
                continue
            if not text.strip():
                continue
            if layout is None or layout.most == 1:
                delimiter = _delimiter(text)
            cells = _cells(text, delimiter, place)
            if not cells:
                continue
            if is_first:
                is_first = False
                layout = _of_header(cells, self._where, place)
                if layout is not None:
                    self.name = layout.name
                    continue
                layout = _of_header(commented, self._where, place) or _of_row(cells, self._where)
                self.name = layout.name if layout else _PLAIN
            if layout is None:
                yield self._plain(cells, number, place)
            elif layout.name != _STRONG:
                yield self._row(layout, cells, number, place)
            elif (segment := self._segment(layout, cells, number, place)) is not None:
                yield segment

    def _plain(self, cells: list[str], number: int, place: str) -> Row:
        words = [word for cell in cells for word in self._words(cell) if word]
        source, *times = words or [""]
        if youtube_id_of(source) is None and "/" not in source:
            return Row(number, source)  # who takes the row says what is wrong with its source
        if len(times) == 1:
            raise AvisError(
                "a part needs its start and its end",
                where=place,
                fix=f"For example: dQw4w9WgXcQ 12.5 40. {UNDERSTOOD}",
            )
        if len(times) > 2:
            raise AvisError(f"these {len(words)} columns are not understood", where=place, fix=UNDERSTOOD)
        if not times:
            return Row(number, source)
        start_s, end_s = (self._seconds(time, place) for time in times)
        _refuse_milliseconds(times[0], times[1], place)
        return Row(number, source, start_s, end_s)

    def _words(self, cell: str) -> list[str]:
        return [cell] if _DECIMAL_COMMA.fullmatch(cell) else re.split(r"[\s,;]+", cell)

    def _seconds(self, text: str, place: str, *, milliseconds: bool = False) -> float:
        """As `seconds`; a comma is a point where it cannot part thousands."""
        match = _DECIMAL_COMMA.fullmatch(text)
        if match and len(match[2]) == 3 and ":" not in text:
            point, none = f"{match[1]}.{match[2]}", match[1] + match[2]
            raise AvisError(
                f"{text!r} may mean {point} or {none}", where=place, fix="Write points for decimals."
            )
        if match:
            why = "its comma is read as a decimal point"
            self.changes.add(Kind.GUESSED, "time", why, example=f"{text} in {place}")
            text = f"{match[1]}.{match[2]}"
        return seconds(text, place, milliseconds=milliseconds)

    def _segment(self, layout: _Layout, cells: list[str], number: int, place: str) -> Row | None:
        """The clip of an event, at its first event; the event's own times count from the clip's start."""
        match = _SEGMENT.fullmatch(cells[layout.source])
        if match is None or not 3 <= len(cells) <= 5:
            raise AvisError(
                f"{cells[layout.source][:40]!r} with {len(cells)} columns is no row of AudioSet-strong",
                where=place,
                fix="Its rows begin with an id and where the clip starts in milliseconds: b0RFKhbpFJA_30000.",
            )
        if match[0] in self._segments:
            why = "it is another event of the same clip"
            self.changes.add(Kind.MERGED, "row", why, example=match[0])
            return None
        self._segments.add(match[0])
        why = (
            "the list gives only where it starts, and a clip of AudioSet lasts 10 s, so its end is put there"
        )
        self.changes.add(Kind.FILLED, "clip", why, example=match[0])
        start_s = int(match["start_ms"]) / 1000
        return Row(number, match["id"], start_s, start_s + 10.0)

    def _row(self, layout: _Layout, cells: list[str], number: int, place: str) -> Row:
        if len(cells) < layout.fewest or (layout.most is not None and len(cells) > layout.most):
            raise AvisError(
                f"the row has {len(cells)} columns, the list began as {layout.name}",
                where=place,
                fix=UNDERSTOOD,
            )
        start, end, split = (_cell(cells, index) for index in (layout.start, layout.end, layout.split))
        source = cells[layout.source]
        if not start and not end and layout.name == _TABLE:
            return Row(number, source, split=self._split(split, place))
        length_s = layout.length_s
        if not start or not (end or length_s):
            raise AvisError(
                "a part needs its start and its end", where=place, fix=f"The list is read as {layout.name}."
            )
        start_s = self._seconds(start, place, milliseconds=layout.milliseconds[0])
        if end or length_s is None:
            end_s = self._seconds(end, place, milliseconds=layout.milliseconds[1])
            end_s += start_s if layout.ends_after_start else 0.0
            if not any(layout.milliseconds) and not layout.ends_after_start:
                _refuse_milliseconds(start, end, place)
        else:
            end_s = start_s + length_s
            why = f"the list gives only its start, and a clip of {layout.name} lasts {length_s:g} s"
            self.changes.add(Kind.FILLED, "clip", f"{why}, so its end is put there", example=source)
        return Row(number, source, start_s, end_s, self._split(split, place))

    def _split(self, name: str, place: str) -> str | None:
        if not name:
            return None
        found = _SPLIT_NAMES.get(name.lower())
        if found is None:
            known = ", ".join(SPLITS)
            raise AvisError(
                f"{name[:40]!r} is no split",
                where=place,
                fix=f"The splits are {known}: write one of them, or take the column out and give --split.",
            )
        if found != name.lower():
            self.changes.add(Kind.RENAMED, "split", f"{name.lower()!r} is {found!r} here", example=place)
        return found


def _refuse_milliseconds(start: str, end: str, place: str) -> None:
    """Raise AvisError where a part in whole seconds is so long, or begins so late, that it may be none."""
    if not (start.isdigit() and end.isdigit()):
        return
    long_s = int(end) - int(start)
    if long_s > (_LONG_S if int(start) < _LATE_S else _LONG_LATE_S):
        raise AvisError(
            f"{start} to {end} may be {long_s / 60:.0f} minutes, or milliseconds",
            where=place,
            fix="Write h:mm:ss, or a first line that names the columns: youtube_id,start_ms,end_ms.",
        )


def seconds(text: str, place: str, *, milliseconds: bool = False) -> float:
    """A time, written as seconds, m:ss or h:mm:ss, or as milliseconds.

    Raises:
        AvisError: it is none.
    """
    if not _TIME.fullmatch(text) and not (milliseconds and re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text)):
        raise AvisError(
            f"{text[:40]!r} is no time", where=place, fix=f"Write seconds, m:ss or h:mm:ss. {UNDERSTOOD}"
        )
    if milliseconds and ":" not in text:
        return float(text) / 1000
    found = 0.0
    for part in text.split(":"):
        found = found * 60 + float(part)
    return found


def _delimiter(text: str) -> str:
    """The first of tab, semicolon and comma that stands outside quotes; a space if none does."""
    match = re.search(r"[\t;,]", re.sub(r'"[^"]*"', "", text))
    return match[0] if match else " "


def _cells(text: str, delimiter: str, place: str) -> list[str]:
    """The columns of a line, without those that are empty at its end."""
    try:
        rows = list(
            csv.reader([text.replace("\0", "")], delimiter=delimiter, skipinitialspace=True, strict=True)
        )
    except csv.Error as error:
        raise AvisError(f"the line is no CSV: {error}", where=place, fix=UNDERSTOOD) from None
    cells = [cell.strip() for cell in rows[0]] if rows else []
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _cell(cells: list[str], index: int | None) -> str:
    return cells[index] if index is not None and index < len(cells) else ""


def _refuse_lost_ids(text: str, place: str) -> None:
    """Excel takes an id that begins with - or = for a formula; behind a # it would pass for a comment.

    Raises:
        AvisError: the line has such a cell.
    """
    if re.search(r"#(NAME\?|VALUE!|REF!|NUM!|N/A)", text):
        raise AvisError(
            "a spreadsheet has put an error in place of a cell",
            where=place,
            fix="Take the list as it was published, or import its columns as text.",
        )


def _audioset_header(text: str) -> list[str]:
    """The columns that AudioSet's comment names: "# YTID, start_seconds, end_seconds, positive_labels"."""
    names = [name.strip() for name in re.split(r"[\t;,]", text.strip('"').lstrip("# "))]
    return names if names[0].lower() == "ytid" else []


def _of_header(cells: list[str], where: str, place: str) -> _Layout | None:
    """The layout of a table whose columns are named; None if these are no names."""
    names = [re.sub(r"[\s()\[\]-]+", "_", cell.lower()).strip("_") for cell in cells]
    if names[:1] == ["segment_id"] and _index(names, _STARTS) is not None:
        return _Layout(_STRONG)
    source = _index(names, _IDS)
    if source is None:
        return None
    tellers = [cell for cell, name in zip(cells, names, strict=True) if _IDS.fullmatch(name)]
    if len(tellers) > 1:
        raise AvisError(
            f"{len(tellers)} columns of the table may tell the video: {', '.join(tellers)[:120]}",
            where=place,
            fix="Keep the one with YouTube ids or addresses, or call the others otherwise.",
        )
    start, end, split = (_index(names, pattern) for pattern in (_STARTS, _ENDS, _SPLIT_COLUMNS))
    is_audioset = names[source] == "ytid"
    is_kinetics = {"label", "youtube_id", "time_start", "time_end"} <= set(names)
    name = "AudioSet" if is_audioset else "Kinetics" if is_kinetics else _TABLE
    length_s = None
    ends_after_start = end is None and _index(names, _DURATIONS) is not None and start is not None
    if ends_after_start:
        end = _index(names, _DURATIONS)
    elif start is not None and end is None:
        known = _by_file_name(where)
        if known is None:
            raise AvisError("the table has a start and no end", where=place, fix=UNDERSTOOD)
        name, length_s = known
    if (start is None and end is not None) or (start is None and len(names) > 1 and split is None):
        raise AvisError("no column of the table is a start", where=place, fix=UNDERSTOOD)
    times = [name for index, name in enumerate(names) if index != source and _OF_TIME.fullmatch(name)]
    if start is None and times:
        raise AvisError(f"the column {times[0]!r} may tell a part, and is none", where=place, fix=UNDERSTOOD)
    return _Layout(
        name,
        source,
        start,
        end,
        ends_after_start,
        split,
        length_s,
        milliseconds=(_is_milliseconds(names, start), _is_milliseconds(names, end)),
        fewest=source + 1,
        most=None if is_audioset else len(names),  # its labels may stand without quotes
    )


def _of_row(cells: list[str], where: str) -> _Layout | None:
    """The published list that has such rows; None if it is none of them."""
    count = len(cells)
    cells = [f"{match[1]}.{match[2]}" if (match := _DECIMAL_COMMA.fullmatch(x)) else x for x in cells]
    if count in (4, 5) and _SEGMENT.fullmatch(cells[0]) and cells[3].startswith("/"):
        return _Layout(_STRONG)
    is_clip = youtube_id_of(cells[0]) is not None and count > 1 and bool(_TIME.fullmatch(cells[1]))
    if is_clip and count == 2:
        known = _by_file_name(where)
        return known and _Layout(known[0], end=None, length_s=known[1], fewest=2, most=2)
    if is_clip and count > 3 and _TIME.fullmatch(cells[2]):
        if all(re.match(r"/[a-z]/", cell) for cell in cells[3:]):
            return _Layout("AudioSet")
        if count == 5 and all(re.fullmatch(r"0(\.\d+)?|1(\.0*)?", cell) for cell in cells[3:]):
            return _Layout("AVSpeech", fewest=5, most=5)
    elif is_clip and count == 4 and cells[3].lower() in _SPLIT_NAMES:
        return _Layout("VGGSound", end=None, split=3, length_s=10.0, fewest=4, most=4)
    is_kinetics = count in (5, 6) and youtube_id_of(cells[1]) and cells[4].lower() in _SPLIT_NAMES
    if is_kinetics and _TIME.fullmatch(cells[2]) and _TIME.fullmatch(cells[3]):
        return _Layout("Kinetics", source=1, start=2, end=3, split=4, fewest=5, most=6)
    return None


def _by_file_name(where: str) -> tuple[str, float] | None:
    name = PurePath(where).name.lower()
    return next((known for part, known in _LENGTHS_S.items() if part in name), None)


def _index(names: list[str], pattern: re.Pattern[str]) -> int | None:
    return next((index for index, name in enumerate(names) if pattern.fullmatch(name)), None)


def _is_milliseconds(names: list[str], index: int | None) -> bool:
    return index is not None and names[index].endswith(("_ms", "_msec", "_milliseconds"))

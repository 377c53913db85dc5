"""One clock for a file: its pictures and its sound, moved together where their time starts anew or jumps.

Parts that were put end to end (HLS with discontinuities, `cat a.ts b.ts`, the VOBs of a DVD) each have a time
of their own. A track alone cannot tell how far a part is to be moved: what its pictures say holds for its
sound, too. So packets are held back where a track's time jumps, until it is known what the other track does:

- both jump, and back, or by more than players take for a gap: a new part, put right after the one before;
- both jump ahead: nothing was recorded then. The time stays: silence, and a black picture;
- one jumps ahead, and the other ran on in between: a gap of that track alone;
- one jumps and the other does not: which of them belong together cannot be told. An error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from av.format import Flags

from components.core.media.container import (
    DAMAGED_SHARE,
    MediaError,
    best_streams,
    clip_start_s,
    in_seconds,
    no_pictures,
    open_media,
    read_packets,
    usual_rate_hz,
)
from components.core.records.changes import Changes, Kind

if TYPE_CHECKING:
    from av import AudioStream, Packet, VideoStream
    from av.container import InputContainer

HOLE_S = 1.0  # nothing for longer than this is a gap; MPEG-2 systems (2.7.4) wants a time stamp each 0.7 s
_BACK_S, _BACK_ANEW_S = 0.5, 0.1  # less is a muxer's disorder; the second one where a clock may be set anew
_JUMP_S = 10.0  # ahead: where a clock may be set anew, players see a new one from here on, less is a gap
_LOOK_S = 2.0  # of packets that are held back, to see whether the other track jumps, too
_APART_S = 3.0  # pictures and sound of one moment lie less than this apart in the file
_MOST_HELD = 5_000  # packets

_ANEW = "its time starts anew or jumps; it was put right after what comes before it"
_BLACK = "no picture is there then; it is black"
_SHOWN_ON = "no picture comes for more than a second; the one before was shown on"
_SILENT = "the sound is missing there; it is silent"
_OUTLIER = "its time lies far from those before and after it; it was put between them"


@dataclass(eq=False, slots=True)
class _Track:
    """What is known of one stream; its times, unless they are `end_s`, are those that the file says."""

    kind: str
    time_base: Fraction  # PyAV makes a new one each time that a packet is asked
    usual_s: float  # length of a packet that does not tell its own
    last_s: float | None = None  # when the last packet is decoded, None before the first one
    next_s: float = 0.0  # when the one after it is
    end_s: float = 0.0  # where what it shows ends, on the one clock
    part: int = 0
    waits_s: float = 0.0  # the longest time from decoding a picture to showing it, so far
    others_s: dict[int, float] = field(default_factory=dict)  # where the others were at its last packet

    def length_s(self, packet: Packet) -> float:
        """How long a packet lasts: MP4 has no gaps, it has samples of many seconds instead."""
        length_s = in_seconds(packet.duration, self.time_base) if packet.duration else self.usual_s
        return self.usual_s if length_s > max(HOLE_S, 2 * self.usual_s) else length_s


@dataclass(slots=True)
class _Jump:
    """Packets that are held back since the time of a track jumped."""

    opener: _Track
    from_s: float
    firsts: dict[
        _Track, tuple[float, float]
    ]  # of the tracks that jumped: first times of decoding, of showing
    latest_s: dict[_Track, float]
    marks_s: dict[_Track, float]  # where the other tracks were then
    held: list[tuple[Packet, _Track | None]] = field(default_factory=list)  # the track, where it jumped

    @property
    def by_s(self) -> float:
        return self.firsts[self.opener][0] - self.from_s


class Clock:
    """Reads the packets of some streams of a file, with times of one clock.

    Packets of a file whose time runs through are as they came.

    Args:
        container: the file.
        streams: those that are wanted; give pictures and sound, also where only one of them is decoded.
        origin_s: the file's time at which the clip begins, for messages.
        path: likewise.
        changes: receives what was moved and filled.
    """

    def __init__(
        self,
        container: InputContainer,
        streams: list[AudioStream | VideoStream],
        *,
        origin_s: float,
        path: Path,
        changes: Changes | None = None,
    ) -> None:
        self._container, self._streams, self._origin_s, self._path = container, streams, origin_s, path
        self._changes = Changes() if changes is None else changes
        self._sets_anew = has_clock_of_its_own(container)
        self._back_s = _BACK_ANEW_S if self._sets_anew else _BACK_S
        self._tracks = {
            stream.index: _Track(
                "pictures" if stream.type == "video" else "sound",
                stream.time_base,
                1.0 / usual_rate_hz(stream) if stream.type == "video" else 0.0,
            )
            for stream in streams
        }
        self._shifts_s = [0.0]  # of each part
        # Of a part with other tracks than the first one's: where another one begins, and how long it is.
        self._others = _others(container, streams) if self._sets_anew else []
        self._spans: dict[int, list[float]] = {}  # first position in the file, first and last time
        self._positions = dict.fromkeys(self._tracks, 0)  # of the last packets
        self._has_unnamed = self._has_mended = False
        self._jump: _Jump | None = None
        self._begin_s: float | None = None  # where the first packet is shown
        self._holes: list[tuple[float, float]] = []

    @property
    def parts(self) -> int:
        """How many parts with a time of their own there were so far."""
        return len(self._shifts_s)

    @property
    def runs_through(self) -> bool:
        """Whether the packets' times were taken as they are."""
        return self.parts == 1 and not self._has_mended

    @property
    def end_s(self) -> float:
        """Where what came so far ends, in the file's time."""
        return max(track.end_s for track in self._tracks.values())

    def hole_s(self, from_s: float, to_s: float) -> float | None:
        """From when on nothing was recorded between two pictures; None: the first one is shown on."""
        begins = [begin for begin, end in self._holes if begin < to_s and from_s < end]
        return max(min(begins), from_s) if begins else None

    def packets(self) -> Iterator[Packet | None]:
        """As `read_packets`.

        Raises (while iterating):
            MediaError: the time of one track jumps, and that of the other goes on.
        """
        streams = self._streams + self._others
        for packet in read_packets(self._container, streams, self._note_unnamed):
            if packet is not None and packet.stream.index not in self._tracks:
                self._note_other(packet)
                continue
            if packet is not None and packet.size and packet.pos is not None:
                self._positions[packet.stream.index] = packet.pos
            if packet is not None and self._sets_anew:
                self._mend_shown(packet)
            yield from self._take(packet)
        if self._jump is not None:
            yield from self._resolve(self._jump)
        self._refuse_other_tracks()

    def _mend_shown(self, packet: Packet) -> None:
        """Of MPEG-PS few pictures tell a time: to the last one before a gap FFmpeg gives that of the next."""
        track = self._tracks[packet.stream.index]
        if packet.pts is None or packet.dts is None or track.kind == "sound":
            return
        waits_s = in_seconds(packet.pts - packet.dts, track.time_base)
        track.waits_s = track.waits_s or waits_s
        if waits_s > HOLE_S + 4 * track.waits_s:  # of few pictures a second they are always far apart
            packet.pts = packet.dts + round(track.usual_s / track.time_base)
        else:
            track.waits_s = max(track.waits_s, waits_s)

    def _note_unnamed(self) -> None:
        self._has_unnamed = True

    def _note_other(self, packet: Packet) -> None:
        times = _times_of(packet)
        if packet.size and packet.pos is not None and times is not None:
            span = self._spans.setdefault(packet.stream.index, [packet.pos, times[0], times[0]])
            span[2] = times[0]

    def _refuse_other_tracks(self) -> None:
        """Tracks that follow those that are read, and would be lost without a word."""
        follow = False
        for stream in self._others:
            chosen = next((each for each in self._streams if each.type == stream.type), None)
            span = self._spans.get(stream.index)
            if chosen is not None and span is not None:
                follow |= span[0] > self._positions[chosen.index] and span[2] - span[1] > HOLE_S
        rest = self._container.size - max(self._positions.values(), default=0)
        if follow or (self._has_unnamed and rest > DAMAGED_SHARE * self._container.size):
            raise MediaError(
                f"at {self._at(self.end_s)} the tracks end and others follow: parts with different tracks"
                " were put together",
                where=str(self._path),
                fix="Cut the file there, or make it anew of parts with the same tracks.",
            )

    def _take(self, packet: Packet | None) -> Iterator[Packet | None]:
        jump = self._jump
        if packet is None or (packet.dts is None and packet.size == 0):  # damage; the end
            if jump is not None:
                yield from self._resolve(jump)
            yield packet
            return
        track = self._tracks[packet.stream.index]
        times = _times_of(packet, track)
        if times is None:
            if jump is not None:
                jump.held.append((packet, track if track in jump.firsts else None))
            else:
                yield packet
            return
        if jump is None:
            if self._follows(track, times[0]):
                yield self._passed(packet, track, times)
                return
            marks_s = {other: other.last_s for other in self._present() if other.last_s is not None}
            jump = self._jump = _Jump(
                track, track.next_s, {track: times}, {track: times[0]}, marks_s, [(packet, track)]
            )
        elif track in jump.firsts:
            if not -self._back_s <= times[0] - jump.latest_s[track] <= _JUMP_S:  # it jumps once more
                yield from (
                    self._let_go(jump) if self._returns(jump, track, times[0]) else self._resolve(jump)
                )
                yield from self._take(packet)
                return
            jump.latest_s[track] = times[0]
            jump.held.append((packet, track))
        else:
            if self._goes_along(jump, track, times[0]):
                jump.firsts[track], jump.latest_s[track] = times, times[0]
                jump.held.append((packet, track))
            else:
                jump.held.append((self._passed(packet, track, times), None))
        if self._is_clear(jump):
            yield from self._resolve(jump)

    def _present(self) -> list[_Track]:
        """The tracks that came in this part."""
        tracks = self._tracks.values()
        return [track for track in tracks if track.last_s is not None and track.part == self.parts - 1]

    def _follows(self, track: _Track, time_s: float) -> bool:
        """Whether a packet belongs where its time says; a gap of this track alone is noted."""
        present = [other for other in self._present() if other is not track]
        if track.last_s is None and self._sets_anew and present:  # its first one: another part's?
            leader = max(present, key=lambda other: other.next_s)
            track.next_s = leader.next_s
            if abs(time_s - track.next_s) > _JUMP_S:
                return False
        if track.last_s is None or track.part < self.parts - 1:  # its first one, of the file or of this part
            self._note_late(track, time_s + self._shifts_s[-1])
            track.part = self.parts - 1
            return True
        step_s = time_s - track.next_s
        if time_s >= track.last_s - self._back_s and step_s <= HOLE_S:
            return True
        ran_on_s = [self._ran_on_s(track, other) for other in present]
        if step_s > HOLE_S and max(ran_on_s, default=0.0) >= step_s / 2:
            self._gap(track, time_s, alone=True)
            return True
        return False

    @staticmethod
    def _ran_on_s(track: _Track, other: _Track) -> float:
        """How far another track has come since a track's last packet."""
        last_s = other.last_s or 0.0
        return last_s - track.others_s.get(id(other), last_s)

    def _goes_along(self, jump: _Jump, track: _Track, time_s: float) -> bool:
        """Whether a packet of the other track lies behind the jump, too: it is nearer to what lies there."""
        if track.last_s is None or time_s < track.last_s - self._back_s:
            return True
        return abs(time_s - jump.latest_s[jump.opener]) < abs(time_s - track.next_s)

    def _returns(self, jump: _Jump, track: _Track, time_s: float) -> bool:
        """Whether the jump was a few packets with damaged times."""
        if len(jump.firsts) > 1 or track.last_s is None:
            return False
        return time_s >= track.last_s - self._back_s and time_s - track.next_s <= HOLE_S

    def _is_clear(self, jump: _Jump) -> bool:
        waiting = [track for track in jump.marks_s if track not in jump.firsts]
        return (
            (not waiting and len(jump.firsts) > 1)
            or jump.latest_s[jump.opener] - jump.firsts[jump.opener][0] >= _LOOK_S
            or any((track.last_s or 0.0) - jump.marks_s[track] >= 2 * _LOOK_S for track in waiting)
            or len(jump.held) >= _MOST_HELD
        )

    def _resolve(self, jump: _Jump) -> Iterator[Packet | None]:
        """Decide what the jump is, and let go of what was held back."""
        self._jump = None
        waiting = [track for track in jump.marks_s if track not in jump.firsts]
        went_on = [track for track in waiting if (track.last_s or 0.0) - jump.marks_s[track] >= _LOOK_S / 2]
        first_s = jump.firsts[jump.opener][0]
        if jump.by_s > _JUMP_S:  # it may have gone on just before, and ended
            went_on = [track for track in waiting if self._ran_on_s(jump.opener, track) >= HOLE_S] or went_on
        if went_on:
            beside = any(jump.marks_s[track] >= first_s - _APART_S for track in went_on)
            if jump.by_s < -HOLE_S or (jump.by_s > _APART_S and not beside):
                raise self._torn(jump, went_on[0])
            if jump.by_s > 0:  # else parts that overlap a little: the later sound counts
                self._gap(jump.opener, first_s, alone=True)
        elif jump.by_s < 0 or (self._sets_anew and jump.by_s > _JUMP_S):
            self._begin_part(jump)
        else:
            alone = bool(waiting) or len(jump.firsts) == 1
            for track, (_, shown_s) in jump.firsts.items():
                if track.last_s is not None and shown_s - track.next_s > HOLE_S:
                    self._gap(track, shown_s, alone=alone)
        for packet, held_track in jump.held:
            yield packet if held_track is None else self._passed(packet, held_track)

    def _let_go(self, jump: _Jump) -> Iterator[Packet]:
        """Let go of a few packets whose times are damaged: they follow the one before them."""
        self._jump, self._has_mended = None, True
        track = jump.opener
        for packet, held_track in jump.held:
            times = _times_of(packet, track)
            if held_track is not None and times is not None:
                _move(packet, track.next_s - times[0])
                packet = self._passed(packet, track)
                self._changes.add(Kind.MOVED, "packet", _OUTLIER, example=self._at(track.end_s))
            yield packet

    def _note_late(self, track: _Track, time_s: float) -> None:
        """Note that a track begins later than the file, or the part; of the first pictures `decode` tells."""
        if track.last_s is None and track.kind == "sound" and self._begin_s is not None:
            track.end_s = self._begin_s
        elif track.last_s is None:
            return
        if time_s - track.end_s > HOLE_S:
            self._fill(track, time_s, _BLACK if track.kind == "pictures" else _SILENT)

    def _begin_part(self, jump: _Jump) -> None:
        """Put what the tracks that jumped bring right after all that was there."""
        start_s, end_s = min(shown_s for _, shown_s in jump.firsts.values()), self.end_s
        shift_s = end_s - start_s
        by_s = start_s + self._shifts_s[-1] - end_s
        self._shifts_s.append(shift_s)
        for track, (_, shown_s) in jump.firsts.items():
            if track.last_s is not None and shown_s + shift_s - track.end_s > HOLE_S:
                self._fill(track, shown_s + shift_s, _BLACK if track.kind == "pictures" else _SILENT)
            track.part, track.last_s = self.parts - 1, None
        example = f"at {self._at(end_s)}, {abs(by_s):.2f} s {'back' if by_s < 0 else 'ahead'}"
        self._changes.add(Kind.MOVED, "part", _ANEW, example=example)

    def _gap(self, track: _Track, shown_s: float, *, alone: bool) -> None:
        """Note a gap of a track that goes on at this time."""
        if track.kind == "sound":
            self._fill(track, shown_s + self._shifts_s[track.part], _SILENT)
        elif alone and not self._sets_anew:
            self._fill(track, shown_s + self._shifts_s[track.part], _SHOWN_ON)
        else:
            self._fill(track, shown_s + self._shifts_s[track.part], _BLACK)

    def _fill(self, track: _Track, until_s: float, why: str) -> None:
        if why == _BLACK:
            self._holes.append((track.end_s, until_s))
        unit = "gap in the sound" if track.kind == "sound" else "gap in the pictures"
        kind = Kind.GUESSED if why == _SHOWN_ON else Kind.FILLED
        self._changes.add(kind, unit, why, example=f"{self._at(track.end_s)} to {self._at(until_s)}")

    def _torn(self, jump: _Jump, other: _Track) -> MediaError:
        track, by_s = jump.opener, jump.by_s
        does = f"starts anew, {-by_s:.1f} s back," if by_s < 0 else f"jumps {by_s:.1f} s ahead"
        return MediaError(
            f"at {self._at(track.end_s)} the time of the {track.kind} {does} and that of the {other.kind}"
            " goes on: which of them belong together cannot be told",
            where=str(self._path),
            fix="Cut the file there into two, or save the video anew from its source.",
        )

    def _at(self, time_s: float) -> str:
        return f"{time_s - self._origin_s:.2f} s"

    def _passed(self, packet: Packet, track: _Track, times: tuple[float, float] | None = None) -> Packet:
        """A packet with its time on the one clock; remembers how far its track has come."""
        times = times or _times_of(packet, track)
        shift_s = self._shifts_s[track.part]
        if times is not None:
            length_s = track.length_s(packet)
            self._begin_s = times[1] if self._begin_s is None else self._begin_s
            track.last_s, track.next_s = times[0], times[0] + length_s
            track.end_s = max(track.end_s, times[1] + length_s + shift_s)
            for other in self._tracks.values():
                if other.last_s is not None:
                    track.others_s[id(other)] = other.last_s
        if shift_s:
            _move(packet, shift_s)
        return packet


def _times_of(packet: Packet, track: _Track | None = None) -> tuple[float, float] | None:
    """When a packet is decoded and when it is shown; None where it does not tell, or never is.

    A Matroska does not tell when its first pictures are decoded: right after the one before, where that is
    sooner than they are shown.

    An edit list of an MP4 makes such packets: before each of its parts some sound, and pictures from the
    key picture on. Their times go back.
    """
    decoded = packet.pts if packet.dts is None else packet.dts
    if decoded is None or packet.is_discard:
        return None
    shown = decoded if packet.pts is None else packet.pts
    time_base = packet.time_base if track is None else track.time_base
    decoded_s, shown_s = in_seconds(decoded, time_base), in_seconds(shown, time_base)
    if packet.dts is None and track is not None and track.last_s is not None:
        decoded_s = min(decoded_s, track.next_s) if decoded_s - track.next_s <= _JUMP_S else decoded_s
    return decoded_s, shown_s


def _move(packet: Packet, by_s: float) -> None:
    ticks = round(by_s / packet.time_base)
    if packet.pts is not None:
        packet.pts += ticks
    if packet.dts is not None:
        packet.dts += ticks


def _others(
    container: InputContainer, streams: list[AudioStream | VideoStream]
) -> list[AudioStream | VideoStream]:
    """The tracks of the same kinds."""
    kinds = {stream.type for stream in streams}
    tracks = [*container.streams.video, *container.streams.audio]
    return [other for other in tracks if other.type in kinds and other not in streams]


def has_clock_of_its_own(container: InputContainer) -> bool:
    """Whether the format's time may be set anew in mid-stream: MPEG-TS and -PS, Ogg."""
    return Flags.ts_discont in Flags(container.format.flags)


@dataclass(frozen=True, slots=True)
class Length:
    """How long a file is, as its packets tell, and of how many parts."""

    duration_s: float
    parts: int


def measure(path: Path) -> Length:
    """Read a file's packets from end to end, without decoding them.

    Raises:
        MediaError: it has no pictures, or its pictures and sound are torn apart.
    """
    with open_media(path) as container:
        video, audio = best_streams(container)
        if video is None:
            raise no_pictures(container, path)
        origin_s = clip_start_s(video, audio)
        streams = [stream for stream in (video, audio) if stream is not None]
        clock = Clock(container, streams, origin_s=origin_s, path=path)
        for _ in clock.packets():
            pass
        return Length(clock.end_s - origin_s, clock.parts)

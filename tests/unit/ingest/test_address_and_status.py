"""What a source stands for, what an error means, which addresses a download may reach."""

from pathlib import Path

import pytest

from components.core.raw.index import RawIndex, Status, write_raw_index
from components.core.raw.manifest import ManifestEntry
from components.core.run.errors import AvisError
from components.ingest.address import SourceKind, parse_source
from components.ingest.entry_row import new_row
from components.ingest.params import IngestParams
from components.ingest.stage import check_share
from components.ingest.status import ADVICE, classify, clean_message
from components.ingest.web.network_guard import Guard, guard_for


def test_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b.mp4").touch()
    (tmp_path / "frames").mkdir()
    (tmp_path / "elevenchars").touch()
    assert parse_source("a b.mp4").url == f"file://{tmp_path}/a%20b.mp4"
    assert parse_source(f"file://{tmp_path}/a%20b.mp4").path == tmp_path / "a b.mp4"
    assert parse_source("frames").kind is SourceKind.FRAMES
    assert parse_source("s3://bucket/key.mp4").kind is SourceKind.S3
    assert parse_source("elevenchars").kind is SourceKind.FILE
    youtube = parse_source("-wgEIkAongk")  # an id may begin with a dash
    assert (youtube.kind, youtube.url) == (SourceKind.WEB, "https://www.youtube.com/watch?v=-wgEIkAongk")
    for bad in ("ftp://a/b.mp4", "file://other/b.mp4", "https:///b.mp4", "ytsearch5://cats"):
        with pytest.raises(AvisError):
            parse_source(bad)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("[youtube] abc: Private video. Sign in if you've been granted access to this video", Status.PRIVATE),
        ("[youtube] abc: Video unavailable. This video has been removed by the uploader", Status.REMOVED),
        ("[youtube] abc: Video unavailable. The uploader has not made this video available in your country",
         Status.GEO_BLOCKED),
        ("[youtube] abc: Sign in to confirm your age. It may be inappropriate", Status.LOGIN_REQUIRED),
        ("[youtube] abc: Sign in to confirm you\u2019re not a bot. Use --cookies", Status.BOT_CHECK),
        ("[youtube] abc: Join this channel to get access to members-only content", Status.LOGIN_REQUIRED),
        ("[youtube] abc: Video unavailable. This content isn't available, try again later. The session"
         " has been rate-limited by YouTube for up to an hour", Status.RATE_LIMITED),
        ("[youtube] abc: This live event will begin in 3 hours.", Status.LIVE_OR_UPCOMING),
        ("[youtube] abc: Premieres in 3 hours", Status.LIVE_OR_UPCOMING),
        ("unable to download video data: HTTP Error 429: Too Many Requests", Status.RATE_LIMITED),
        ("[generic] x: Unable to download webpage: HTTP Error 404: Not Found", Status.REMOVED),
        ("[generic] x: Unable to download webpage: HTTP Error 403: Forbidden", Status.LOGIN_REQUIRED),
        ("[generic] x: Unable to download webpage: HTTP Error 503: Service Unavailable", Status.NETWORK),
        ("Unable to download webpage: [Errno 111] Connection refused", Status.NETWORK),
        ("Unable to download webpage: The read operation timed out", Status.TIMEOUT),
        ("Unsupported URL: http://x", Status.UNSUPPORTED),
        ("Requested format is not available", Status.UNSUPPORTED),
    ],
)  # fmt: skip
def test_messages_of_yt_dlp(message: str, status: Status) -> None:
    assert classify(Exception(f"ERROR: {message}")) is status


def test_classes_win_over_messages() -> None:
    from yt_dlp.utils import DownloadError, GeoRestrictedError, UnsupportedError

    inner = GeoRestrictedError("Video unavailable", countries=["DE"])
    assert classify(DownloadError("Video unavailable", (type(inner), inner, None))) is Status.GEO_BLOCKED
    inner2 = UnsupportedError("http://x")
    assert classify(DownloadError("x", (type(inner2), inner2, None))) is Status.UNSUPPORTED


def test_every_status_has_advice() -> None:
    assert set(ADVICE) == set(Status) - {Status.OK}


def test_messages_are_one_clean_line() -> None:
    error = Exception("ERROR: \x1b[0;31m[youtube] abc: Gone\nfor good; please report this issue on x, y")
    assert clean_message(error) == "Gone for good"


def test_guard() -> None:
    public = Guard()
    assert public.allows("93.184.216.34")
    for address in ("127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "::1", "::ffff:10.0.0.1",
                    "0.0.0.0", "fe80::1%eth0"):  # fmt: skip
        assert not public.allows(address), address
    here = guard_for("http://127.0.0.1:80/a.mp4")
    assert here.allows("127.0.0.1")
    assert not here.allows("10.0.0.1")
    inside = guard_for("http://10.1.2.3/a.mp4")
    assert inside.allows("10.1.2.3")
    assert not inside.allows("10.1.2.4")
    assert not guard_for("http://169.254.169.254/latest").allows("169.254.169.254")
    assert here.beyond_public != inside.beyond_public != guard_for("http://10.1.2.4/").beyond_public
    assert guard_for("http://1.1.1.1/").beyond_public == guard_for("http://8.8.8.8/").beyond_public


def test_too_many_failures_name_the_first_of_each_kind_and_its_reason(tmp_path: Path) -> None:
    entries = [ManifestEntry(name, f"{name}.mp4") for name in ("a", "b", "c")]
    rows = [
        new_row(entries[0], IngestParams(), Status.CORRUPT, "the file a.mp4 is empty"),
        new_row(entries[1], IngestParams(), Status.REMOVED, "there is no file b.mp4"),
        new_row(entries[2], IngestParams(), Status.REMOVED, "there is no file c.mp4"),
    ]
    write_raw_index(tmp_path / "index.parquet", rows)
    with pytest.raises(AvisError, match=r"3 of 3 videos failed.*2 removed, 1 corrupt") as error:
        check_share(RawIndex(tmp_path / "index.parquet"), 0.5)
    for first in ("(first: 'a': the file a.mp4 is empty)", "(first: 'b': there is no file b.mp4)"):
        assert first in str(error.value)
    assert not error.value.passing


@pytest.mark.parametrize(("away", "passing"), [(2, True), (1, False)])
def test_a_share_of_failures_may_pass_when_most_of_them_may(tmp_path: Path, away: int, passing: bool) -> None:
    entries = [ManifestEntry(name, f"{name}.mp4") for name in ("a", "b", "c")]
    statuses = [Status.NETWORK] * away + [Status.REMOVED] * (3 - away)
    rows = [new_row(*each, "") for each in zip(entries, [IngestParams()] * 3, statuses, strict=True)]
    write_raw_index(tmp_path / "index.parquet", rows)
    with pytest.raises(AvisError) as error:
        check_share(RawIndex(tmp_path / "index.parquet"), 0.5)
    assert error.value.passing is passing


@pytest.mark.parametrize(
    "address",
    [
        "64:ff9b::a00:1",  # NAT64 of 10.0.0.1
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1",
        "2002:a00:1::", "2002:7f00:1::1",  # 6to4
        "fec0::1", "ff02::1", "224.0.0.251", "239.255.255.250", "::10.0.0.1", "::", "255.255.255.255",
        "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192",  # clouds' metadata
    ],
)  # fmt: skip
def test_no_spelling_of_an_inner_address_passes(address: str) -> None:
    assert not Guard().allows(address)
    assert not guard_for("http://10.0.0.2/a.mp4").allows(address)


def test_what_stands_for_a_public_address_passes_and_metadata_never_does() -> None:
    for address in ("64:ff9b::101:101", "2002:101:101::1", "::ffff:1.1.1.1", "2606:4700::1111"):
        assert Guard().allows(address), address
    for address in ("100.100.100.200", "168.63.129.16", "[fd00:ec2::254]", "224.0.0.251"):
        assert not guard_for(f"http://{address}/a.mp4").allows(address.strip("[]")), address
    assert guard_for("http://[64:ff9b::a00:1]/a.mp4").allows("10.0.0.1")


def test_a_public_name_names_no_private_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name's owner may change where it leads, between the look at it and the connection, too."""

    def resolve(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        return [(None, None, None, "", (host if host[0].isdigit() else "10.0.0.7", 0))]

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    assert not guard_for("http://videos.example.com/a.mp4").allows("10.0.0.7")
    assert not guard_for("http://videos.example.com/a.mp4").allows("127.0.0.1")
    for url in ("http://nas/a.mp4", "http://nas.lan/a.mp4", "http://10.0.0.7/a.mp4"):
        assert guard_for(url).allows("10.0.0.7"), url
    inside = guard_for("http://nas.company.com/a.mp4", private_hosts=("nas.company.com",))
    assert inside.allows("10.0.0.7") and not inside.allows("10.0.0.8")
    assert guard_for("http://videos.example.com/a.mp4", proxy="http://proxy.company.com:1").allows("10.0.0.7")
    monkeypatch.setenv("https_proxy", "proxy.company.com:1")
    assert guard_for("http://videos.example.com/a.mp4").allows("10.0.0.7")
    monkeypatch.setenv("no_proxy", "10.0.0.9")
    assert not guard_for("http://videos.example.com/a.mp4").allows("10.0.0.9")

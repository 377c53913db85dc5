"""VGG Image Annotator 2 and 3: polygons of regions that tell their object; read only.

A region attribute called `track_id` tells the object, one called `label` or the like the category. The sizes
are those of the pictures beside the file, failing these of the media. In videos (VIA 3) a region has a time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from components.annotate.formats import NO_HINTS, Format, Hints, Look, Reading
from components.annotate.parsing.fields import mapping, number_or_text, numbers, text
from components.annotate.parsing.foreign_rows import drawn, names_of_folders, plain_path
from components.annotate.parsing.frame_names import FrameNames
from components.annotate.parsing.label_pictures import picture_size
from components.annotate.track_builder import Gathering, first_number, note_missing_frames, same_size
from components.core.records.changes import Kind
from components.core.records.json_rows import JsonObject, read_object
from components.core.run.errors import AvisError

_TRACK = ("track_id", "track", "instance_id", "object_id", "group_id")
_CATEGORY = ("category", "label", "class", "name", "type", "object")
_POLYGON, _VIDEO = 7, 4
_SHAPES = {1: "point", 2: "rectangle", 3: "circle", 4: "ellipse", 5: "line", 6: "polyline"}
_SECOND = "its regions have times; each is taken for the picture of its second"


@dataclass
class _Region:
    """polygon: x, y, x, y, …; None: it is no polygon. time_s: in a video."""

    where: str
    shape: str
    polygon: list[float] | None
    attributes: dict[str, str]
    time_s: float | None = None


def _recognise(look: Look) -> str | None:
    keys = set(look.keys)
    if "_via_img_metadata" in keys or "_via_settings" in keys or b'"shape_attributes"' in look.head:
        return "a JSON object of VIA 2, with regions of shape_attributes"
    if keys >= {"project", "config", "attribute", "file", "metadata", "view"}:
        return "a project of VIA 3"
    if b"filename,file_size,file_attributes,region_count" in look.head.replace(b'"', b"")[:400]:
        return "a CSV file of VIA 2"
    if (
        look.head.startswith(b"# Exported using VGG Image Annotator")
        or b"# CSV_HEADER = metadata_id" in look.head
    ):
        return "a CSV file of VIA 3"
    return None


def _read(path: Path, hints: Hints = NO_HINTS) -> Reading:
    with path.open("rb") as file:
        is_json = file.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{"
    if not is_json:
        raise AvisError(
            "CSV files of VGG Image Annotator are not read", where=str(path), fix="Save the project as JSON."
        )
    document = read_object(path, "annotations")
    gathering = Gathering(hints.work, hints.effort)
    is_third = "metadata" in document and "view" in document
    files: dict[str, tuple[bool, list[_Region]]] = {}
    for where, name, content in (
        _files_of_3(document, path, gathering) if is_third else _files_of_2(document, path)
    ):
        if name in files:
            raise AvisError(
                f"The file {name[:160]!r} stands there twice", where=where, fix="Remove one of them."
            )
        files[name] = content
    pictures = {name: regions for name, (is_video, regions) in files.items() if not is_video}
    _refuse_without_attributes([region for _, regions in files.values() for region in regions], path)
    _read_pictures(gathering, pictures, path, hints)
    for name, (is_video, regions) in files.items():
        if is_video:
            _read_video(
                gathering, PurePosixPath(plain_path(name, gathering.changes, name)).stem, regions, path, hints
            )
    return Reading(gathering.finish(str(path)), gathering.changes, gathering.clocks)


def _files_of_2(document: JsonObject, path: Path) -> Iterator[tuple[str, str, tuple[bool, list[_Region]]]]:
    """(where, name, (False, regions)) of each picture."""
    if "_via_img_metadata" in document:
        rows = mapping(document.value("_via_img_metadata"), f"{path}, _via_img_metadata")
    else:
        rows = {key: document.value(key) for key in document.keys}
    for key, row in rows.items():
        where = f"{path}, {key[:80]}"
        row = mapping(row, where)
        listed = row.get("regions") or []
        regions = listed.values() if isinstance(listed, Mapping) else listed  # VIA 1 numbers them
        if not isinstance(regions, list) and not isinstance(listed, Mapping):
            raise AvisError("The list 'regions' is missing", where=where)
        found = []
        for number, region in enumerate(regions):
            at = f"{where}, regions[{number}]"
            region = mapping(region, at)
            shape = mapping(region.get("shape_attributes"), at)
            kind = text(shape, "name", at)
            polygon = None
            if kind == "polygon":
                x, y = (numbers(shape.get(f"all_points_{axis}"), at) for axis in "xy")
                if len(x) != len(y):
                    raise AvisError(f"It has {len(x)} all_points_x and {len(y)} all_points_y", where=at)
                polygon = [value for point in zip(x, y, strict=True) for value in point]
            attributes = mapping(region.get("region_attributes") or {}, at)
            found.append(_Region(at, kind, polygon, {name: _chosen(v, at) for name, v in attributes.items()}))
        yield where, text(row, "filename", where), (False, found)


def _files_of_3(
    document: JsonObject, path: Path, gathering: Gathering
) -> Iterator[tuple[str, str, tuple[bool, list[_Region]]]]:
    """(where, name, (whether it is a video, regions)) of each file."""
    parts = {
        key: mapping(document.value(key), f"{path}, {key}")
        for key in ("attribute", "file", "metadata", "view")
    }
    regions: dict[str, list[_Region]] = {}
    for key, row in parts["metadata"].items():
        where = f"{path}, metadata {key[:40]}"
        row = mapping(row, where)
        view = mapping(parts["view"].get(str(row.get("vid"))), f"{where}, view")
        shown = view.get("fid_list")
        if not isinstance(shown, list) or len(shown) != 1:
            raise AvisError("Its view has not one file", where=where, fix="Give each file a view of its own.")
        if str(shown[0]) not in parts["file"]:
            raise AvisError(
                f"Its view shows the file {str(shown[0])[:40]!r}, which is not listed", where=where
            )
        xy, times = numbers(row.get("xy"), where), numbers(row.get("z"), where)
        if not xy:
            gathering.changes.add(Kind.DROPPED, "temporal segment", "it has no region", example=where)
            continue
        attributes = {}
        for identity, value in mapping(row.get("av") or {}, where).items():
            attribute = mapping(parts["attribute"].get(identity) or {}, f"{where}, attribute {identity}")
            options = mapping(attribute.get("options") or {}, where)
            attributes[str(attribute.get("aname"))] = str(options.get(str(value), _chosen(value, where)))
        is_polygon = xy[0] == _POLYGON and len(times) < 2
        shape = "region of several times" if len(times) > 1 else _SHAPES.get(int(xy[0]), "region")
        polygon = xy[1:] if is_polygon else None
        region = _Region(where, shape, polygon, attributes, times[0] if times else None)
        regions.setdefault(str(shown[0]), []).append(region)
    for key, row in parts["file"].items():
        where = f"{path}, file {key[:40]}"
        row = mapping(row, where)
        yield where, text(row, "fname", where), (row.get("type") == _VIDEO, regions.get(key, []))


def _chosen(value: object, where: str) -> str:
    """An attribute's value; of boxes to tick the one that is."""
    if isinstance(value, Mapping):
        ticked = [name for name, is_ticked in value.items() if is_ticked]
        if len(ticked) > 1:
            raise AvisError(f"Several boxes are ticked: {', '.join(ticked[:5])}", where=where)
        return ticked[0] if ticked else ""
    return "" if value is None else str(value).strip()


def _value(attributes: Mapping[str, str], names: tuple[str, ...]) -> str:
    plain = {name.strip().lower(): value for name, value in attributes.items()}
    return next((plain[name] for name in names if plain.get(name)), "")


def _refuse_without_attributes(regions: list[_Region], path: Path) -> None:
    for what, names in (("object over time", _TRACK), ("category", _CATEGORY)):
        if regions and not any(_value(region.attributes, names) for region in regions):
            raise AvisError(
                f"No region has an attribute that tells its {what}",
                where=str(path),
                fix=f"Add the region attribute {names[0]!r} to the project and fill it in (understood, too: "
                f"{', '.join(names[1:])}).",
            )


def _read_pictures(
    gathering: Gathering, files: Mapping[str, list[_Region]], path: Path, hints: Hints
) -> None:
    folders: dict[str, dict[str, str]] = {}
    for name in files:
        plain = plain_path(name, gathering.changes, f"{path}, {name}")
        folders.setdefault(plain.rpartition("/")[0], {})[name] = plain
    names = names_of_folders(folders, gathering.changes)
    for folder, of_video in folders.items():
        video_name = names[folder] or hints.name
        alike = FrameNames()
        frames: dict[int, str] = {}
        sizes: dict[str, tuple[tuple[int, int], str]] = {}
        for name, plain in of_video.items():
            where = f"{path}, {name}"
            number = alike.number(video_name, PurePosixPath(plain).stem, where)
            if number is None or number in frames:
                what = "tells no frame" if number is None else f"is frame {number} once more"
                raise AvisError(f"The picture {plain!r} {what}", where=where)
            frames[number] = name
            beside = path.parent / plain
            if ".." not in plain and beside.is_file():
                same_size(sizes, video_name, picture_size(beside), plain, where)
        known = hints.lengths.get(video_name.replace("/", "-"))
        first = first_number(frames, None, gathering.changes, video_name, pictures=known)
        size = sizes[video_name][0] if sizes else None
        present = {number - first for number in frames}
        length = max(max(present) + 1, known or 0)
        shown = {number - first: files[name] for number, name in frames.items()}
        _add_video(gathering, video_name, length, size, shown, path, hints)
        clock = note_missing_frames(gathering.changes, video_name, present, length)
        gathering.clocks[video_name.replace("/", "-")] = clock


def _read_video(gathering: Gathering, name: str, regions: list[_Region], path: Path, hints: Hints) -> None:
    """A region of second k is of picture k; of a track's several times in it the one nearest its middle."""
    nearest: dict[tuple[str, int], float] = {}
    for region in regions:
        time_s = region.time_s or 0.0
        key = _value(region.attributes, _TRACK), int(time_s)
        nearest[key] = min(nearest.get(key, time_s), time_s, key=lambda s: abs(s % 1 - 0.5))
    shown: dict[int, list[_Region]] = {}
    for region in regions:
        time_s = region.time_s or 0.0
        if nearest[_value(region.attributes, _TRACK), int(time_s)] != time_s:
            why = "another one of its track is nearer to the middle of the second"
            gathering.changes.add(Kind.DROPPED, "mask", why, example=f"{region.where}, {time_s:g} s")
            continue
        shown.setdefault(int(time_s), []).append(region)
    gathering.changes.add(Kind.GUESSED, "video", _SECOND, example=name)
    length = max(max(shown, default=0) + 1, hints.lengths.get(name, 0))
    _add_video(gathering, name, length, None, shown, path, hints)


def _add_video(
    gathering: Gathering,
    name: str,
    length: int,
    size: tuple[int, int] | None,
    shown: Mapping[int, list[_Region]],
    path: Path,
    hints: Hints,
) -> None:
    size = size or hints.sizes.get(name.replace("/", "-"))
    if size is None:
        raise AvisError(
            f"The size of the frames of {name!r} is not in the file",
            where=str(path),
            fix="Put the pictures beside the file, or extract the video's media first.",
        )
    video = gathering.video(name, height=size[0], width=size[1], length=length, where=str(path))
    for frame, regions in shown.items():
        for region in regions:
            track, label = (_value(region.attributes, names) for names in (_TRACK, _CATEGORY))
            if region.polygon is None:
                gathering.leave_out(video.name, region.shape, "it is no polygon", region.where)
            elif not track or not label:
                why = f"it has no {'track_id' if label else 'category'}"
                gathering.changes.add(Kind.DROPPED, "mask", why, example=region.where)
            else:
                for name, value in region.attributes.items():
                    if value and name.strip().lower() not in (*_TRACK, *_CATEGORY):
                        why, example = "a track has no place for it", f"{region.where}, attribute {name}"
                        gathering.changes.add(Kind.DROPPED, "attribute", why, example=example)
                key = number_or_text({"track_id": track}, "track_id", region.where)
                gathering.track(video, key, gathering.category(label), region.where)
                segmentation = drawn([region.polygon], gathering.changes, region.where)
                gathering.add(video, frame, key, segmentation, region.where)


FORMAT = Format(
    name="via",
    description="VGG Image Annotator 2 and 3: JSON with polygons that have the attribute track_id",
    recognise=_recognise,
    read=_read,
)

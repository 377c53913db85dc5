"""What CVAT's <meta> tells: the tasks or the job, their frames and how these are numbered."""

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element  # builds; never parses

from components.annotate.formats import Hints
from components.annotate.parsing.xml_files import whole_attribute
from components.annotate.track_builder import Gathering
from components.core.records.annotations import Video
from components.core.run.errors import AvisError

_VIDEO_ENDINGS = {".mp4", ".mkv", ".webm", ".mov", ".avi"}
_JOB_NAME = re.compile(r"(.+?)[._-]job[._-]?\d+")  # how the file of one of several jobs may be called


@dataclass
class Task:
    """A task, or a job of one.

    name: of its video.
    length: how many frames it has, of a job: from the task's first to the job's last.
    first, step: the frames are numbered first, first + step, …
    job_start: which of the frames is a job's first; None where this is no job.
    offset: added to these numbers where the project's tasks are numbered on.
    lost: why the video has no media; the task is not read then. "" where it is.
    element, where: of <meta>, and where it stands.
    """

    id: str
    name: str
    length: int
    first: int
    step: int
    assignee: str
    job_start: int | None
    offset: int
    lost: str
    element: Element
    where: str
    masks: int = 0  # shapes that are shown
    others: int = 0  # shapes that are shown and no masks: boxes, points, …
    repeated: int = 0  # frames without a shape, for which the polygon before them holds

    def position(self, frame: int) -> int | None:
        """Which of the task's frames has this number; None where none has."""
        position, rest = divmod(frame - self.offset - self.first, self.step)
        return None if rest or not 0 <= position < self.length else position

    def number(self, position: int) -> int:
        """The number that the export gives to a frame."""
        return self.offset + self.first + position * self.step

    def outside(self, frame: int) -> str:
        """What to say of a frame that has no position."""
        return (
            f"Frame {frame} lies outside the task's {self.length} frames, from {self.number(0)} in steps of "
            f"{self.step}"
        )


def tasks_of(root: Element, path: Path, hints: Hints) -> dict[str, Task]:
    """The tasks by id, in their order; raises AvisError where there are none, or <meta> is malformed."""
    elements = root.findall("meta/project/tasks/task") or [
        element for element in (root.find("meta/task"), root.find("meta/job")) if element is not None
    ]
    if not elements:
        raise AvisError(
            "There is no <task>, <job> or <project> in <meta>",
            where=str(path),
            fix="Export as 'CVAT for video 1.1'.",
        )
    tasks: dict[str, Task] = {}
    offset, subset = 0, ""
    for element in elements:
        where = f"{path}, {element.tag} {element.findtext('id', '')}".rstrip()
        if (element.findtext("subset") or "") != subset:
            offset, subset = 0, element.findtext("subset") or ""
        task = _task(element, where, offset, hints)
        if task.id in tasks:
            raise AvisError(f"Two tasks of the project have the id {task.id!r}", where=str(path))
        tasks[task.id] = task
        offset += task.first + task.step * task.length
    return tasks


def _task(element: Element, where: str, offset: int, hints: Hints) -> Task:
    name = element.findtext("name") or element.findtext("source") or _name_of_file(hints)
    if Path(name).suffix.lower() in _VIDEO_ENDINGS:
        name = name[: -len(Path(name).suffix)]
    filter_ = element.findtext("frame_filter") or "step=1"
    step = re.fullmatch(r"\s*step\s*=\s*(\d{1,6})\s*", filter_)
    if step is None or int(step[1]) == 0:
        raise AvisError(f"The frame filter {filter_!r} is not 'step=N'", where=where)
    length = whole_attribute(element.findtext("size"), "size", where)
    first = whole_attribute(element.findtext("start_frame") or "0", "start_frame", where)
    job_start = None
    if element.tag == "job":
        told = element.findtext("segments/segment/start")
        job_start = 0 if told is None else whole_attribute(told, "segments/segment/start", where)
        if job_start < 0:
            raise AvisError(f"The job begins with frame {job_start}", where=where)
        first -= job_start * int(step[1])  # of the task, as the numbers of the frames are
        length += job_start
    return Task(
        element.findtext("id", ""), name, length, first, int(step[1]),
        element.findtext("assignee/username") or "", job_start, offset, hints.why_lost(name) or "", element,
        where,
    )  # fmt: skip


def _name_of_file(hints: Hints) -> str:
    """A job does not tell its task: the file does, called <video> or, of several, <video>.job_<number>."""
    match = _JOB_NAME.fullmatch(hints.name)
    return hints.name if match is None or hints.name in hints.sizes else match[1]


def task_of(element: Element, tasks: dict[str, Task], where: str) -> Task:
    """The task of a track or an image; raises AvisError where it has none."""
    task = next(iter(tasks.values())) if len(tasks) == 1 else tasks.get(element.get("task_id", ""))
    if task is None:
        raise AvisError(
            f"The {element.tag} belongs to no task of the project (task_id {element.get('task_id')!r})",
            where=where,
        )
    return task


def video_of(task: Task, root: Element, gathering: Gathering, hints: Hints) -> Video:
    """The video of a task, with the size that the export or the media tell; raises AvisError."""
    height, width = _size(task.element, root, task.name, hints, task.where)
    return gathering.video(task.name, height=height, width=width, length=task.length, where=task.where)


def _size(task: Element, root: Element, name: str, hints: Hints, where: str) -> tuple[int, int]:
    """Height and width of the frames. A job's stands beside it (CVAT: JobData._init_meta)."""
    size = task.find("original_size")
    if size is None and task.tag == "job":
        size = root.find("meta/original_size")
    if size is None:
        if name in hints.sizes:
            return hints.sizes[name]
        raise AvisError(
            "The export does not tell the frames' size (original_size)",
            where=where,
            fix="CVAT writes it for tasks that are made of a video file, not of pictures. The annotate stage "
            "takes it from the media of the video, if the task is called as it is; or export as "
            "'CVAT for images 1.1', 'COCO 1.0' or 'Datumaro 1.0'.",
        )
    return (
        whole_attribute(size.findtext("height"), "original_size/height", where),
        whole_attribute(size.findtext("width"), "original_size/width", where),
    )

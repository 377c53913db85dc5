"""Shapes that stand in comments (``x = …  # [B, T, Q, C]``) compared with what the lines give when they run.

Letters hold within one call of a function: a name on its own is bound by the first shape that has it, and an
expression of bound names (``T * Q``, ``K + 1``, ``C/2``) is computed. ``# each [F, S, C]`` is of all tensors
in a list, ``# [S, C], [S]`` of a tuple one by one, ``# [t, 1, C], or [t, 0, C]`` allows both.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

SHAPE = re.compile(r"\[([^\[\]]+)\]")


@dataclass(frozen=True)
class Shape:
    """One comment: of the statement in these lines, for what it assigns or returns."""

    begin: int
    end: int
    targets: tuple[str, ...]  # expressions; none of a return
    shapes: tuple[tuple[str, ...], ...]
    each: bool  # of every tensor in a list
    either: bool  # the shapes are alternatives


@dataclass
class Seen:
    wrong: list[str] = field(default_factory=list)
    checked: set[tuple[str, int]] = field(default_factory=set)


@cache
def shapes_in(path: str) -> dict[int, Shape]:
    """Shapes of a file by the last line of their statement."""
    text = Path(path).read_text(encoding="utf-8")
    comments = {
        token.start[0]: (token.string, token.line.strip().startswith("#"))
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    }
    found = {}
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    for node in (node for function in functions for node in ast.walk(function)):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Return) and node.value:
            lines = [node.lineno - 1, node.lineno, node.end_lineno or 0]
            above = comments.get(lines[0], ("", False))
            said = [above[0]] if above[1] else []
            said += [comments[line][0] for line in dict.fromkeys(lines[1:]) if line in comments]
            said = [x for x in said if re.match(r"# (each |both )?\[", x)]
            if said:
                found[node.end_lineno or 0] = _shape(node, said[-1])
    return found


def _shape(node: Any, said: str) -> Shape:
    groups = tuple(tuple(axis.strip() for axis in x.split(",")) for x in SHAPE.findall(said.split(";")[0]))
    targets: list[ast.expr] = []
    if not isinstance(node, ast.Return):
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        targets = list(target.elts) if isinstance(target, ast.Tuple) else [target]
    each, either = said.startswith("# each"), "], or [" in said
    return Shape(node.lineno, node.end_lineno, tuple(map(ast.unparse, targets)), groups, each, either)


Letters = dict[str, tuple[int, int]]
"""What a name stands for, and the line that said so first."""


def _fits(size: tuple[int, ...], axes: tuple[str, ...], letters: Letters, line: int) -> bool:
    if len(size) != len(axes):
        return False
    for length, axis in zip(size, axes, strict=True):
        known = {name: value for name, (value, _) in letters.items()}
        if axis.isidentifier() and axis not in known:
            letters[axis] = (length, line)
        elif set(re.findall(r"[A-Za-z_]+", axis)) <= known.keys() and round(eval(axis, {}, known)) != length:
            return False
    return True


@contextmanager
def shapes_checked(folder: Path) -> Iterator[Seen]:
    """Run code of the files below ``folder`` inside: what is wrong and which comments were checked."""
    seen = Seen()
    inside: dict[CodeType, dict[int, Shape]] = {}
    here = str(folder.resolve())
    bound: dict[FrameType, tuple[Letters, list[Shape], set[int]]] = {}

    def check(frame: FrameType, shape: Shape, returned: Any = None) -> None:
        letters, _, visited = bound[frame]
        if shape.begin in visited:  # once more in a loop: what was said there and below it holds no longer
            for name in [name for name, (_, line) in letters.items() if line >= shape.begin]:
                del letters[name]
        visited.add(shape.begin)
        values = [eval(x, frame.f_globals, frame.f_locals) for x in shape.targets] or [returned]
        for index, value in enumerate(values):
            said = shape.shapes if shape.either else shape.shapes[min(index, len(shape.shapes) - 1) :][:1]
            parts = value if isinstance(value, list | tuple) else [value]
            for part in parts:
                size = getattr(part, "shape", None)
                if size is None or (0 in size and len(size) == 1):  # an attribute that is not filled yet
                    continue
                where = (frame.f_code.co_filename, shape.begin)
                seen.checked.add(where)
                known = dict(letters) if shape.each else letters
                if not any(_fits(tuple(size), axes, known, shape.begin) for axes in said):
                    seen.wrong.append(f"{where[0]}:{where[1]}: {list(size)} is not {said} with {letters}")

    def local(frame: FrameType, event: str, argument: Any) -> Any:
        _, open_, _ = bound[frame]
        shapes = inside[frame.f_code]
        line = frame.f_lineno
        while open_ and (event == "return" or not open_[-1].begin <= line <= open_[-1].end):
            shape = open_.pop()
            if shape.targets:
                check(frame, shape)
            elif event == "return":
                check(frame, shape, argument)
        if event == "line":
            for shape in shapes.values():
                if shape.begin <= line <= shape.end and shape not in open_:
                    open_.append(shape)
        if event == "return":
            del bound[frame]
        return local

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(here) or "<" in code.co_name:
            return None
        if code not in inside:
            lines = {line for *_, line in code.co_lines() if line}
            inside[code] = {n: s for n, s in shapes_in(code.co_filename).items() if s.begin in lines}
        if not inside[code]:
            return None
        bound[frame] = ({}, [], set())
        return local

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield seen
    finally:
        sys.settrace(before)

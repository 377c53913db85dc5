"""XML from outside: no document type, no entities, one message when it is broken."""

from pathlib import Path
from typing import cast
from xml.etree.ElementTree import Element, ParseError  # named only; defusedxml parses

from components.core.run.errors import AvisError


def parse_xml(path: Path) -> Element:
    """The root element; raises AvisError where the XML is broken or declares what data never needs."""
    import defusedxml.ElementTree
    from defusedxml.common import DefusedXmlException

    try:
        return cast(Element, defusedxml.ElementTree.parse(path, forbid_dtd=True).getroot())
    except DefusedXmlException as error:
        raise AvisError(
            "The XML declares a document type or entities, which annotations never need",
            where=str(path),
            fix="Export it again; do not trust where this file came from.",
        ) from error
    except (ParseError, ValueError, LookupError) as error:  # an unknown encoding is one of the latter
        raise AvisError(f"The XML is broken: {error}", where=str(path), fix="Export it again.") from error


def whole_attribute(text: str | None, field: str, where: Path | str) -> int:
    """A whole number of an attribute or element; raises AvisError naming it."""
    try:
        number = int((text or "")[:20])
    except ValueError:
        raise AvisError(f"{field} is {str(text)[:80]!r}, not a whole number", where=str(where)) from None
    return number

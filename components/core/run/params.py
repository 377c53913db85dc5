"""Typed blocks of params.yaml, the only configuration file."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field

from components.core.run.errors import AvisError

ALLOWED_BLOCKS = (
    "dataset",
    "engine",
    "storage",
    "tracking",
    "sample",
    "ingest",
    "extract",
    "annotate",
    "qa",
    "train",
    "variants",
    "predict",
    "evaluate",
    "mllm",
    "compare",
    "promotion",
)
PARAMS = Path("params.yaml")
_VARIANT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


class Block(BaseModel):
    """Base of every stage's parameters: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EngineParams(Block):
    """How work over many items runs (components/core/run/engine.py)."""

    kind: Literal["local", "ray"] = "local"
    workers: int = Field(default=0, ge=0, description="0 = one per core")


M = TypeVar("M", bound=BaseModel)


def read_block(
    name: str,
    model: type[M],
    *,
    path: Path = PARAMS,
    override: Mapping[str, Any] | None = None,
    optional: bool = False,
) -> M:
    """Read one top-level block of the parameter file.

    Args:
        name: the block, one of ALLOWED_BLOCKS.
        model: the block's type.
        path: the parameter file.
        override: values that win over the file's, nested as in the file.
        optional: a missing file or block gives the model's defaults.

    Raises:
        AvisError: if the file or the block is missing, or a field is unknown or has a wrong value; it names
            the file, the line, the field and what is allowed.
    """
    if optional and not path.exists():
        return _validate(model, dict(override or {}), path, {}, [(name,)])
    document, lines = _load(path)
    if name not in document and not optional:
        raise _missing_block(name, document, path)
    block = _mapping(document.get(name), name, path, lines)
    return _validate(model, _merge(block, override or {}), path, lines, [(name,)])


def read_variant(variant: str, model: type[M], path: Path = PARAMS) -> M:
    """Read the `train` block as the variant changes it: `variants.<variant>` wins, key by key.

    A variant whose `model.name` is another network's has a `model` block of its own, as it stands.

    Raises:
        AvisError: as read_block, and for an unknown variant (it lists the known ones).
    """
    document, lines = _load(path)
    for block in ("train", "variants"):
        if block not in document:
            raise _missing_block(block, document, path)
    variants = _variants(document, path, lines)
    if variant not in variants:
        raise AvisError(
            f"variant {variant!r} does not exist",
            where=f"{path}, variants",
            fix=_suggest(variant, list(variants)),
        )
    changes = _mapping(variants[variant], f"variants.{variant}", path, lines)
    train = _mapping(document["train"], "train", path, lines)
    if _names_another_network(train, changes):  # its settings are others: none is taken over
        train = {key: value for key, value in train.items() if key != "model"}
    values = _merge(train, changes)
    return _validate(model, values, path, lines, [("variants", variant), ("train",)])


def read_variant_names(path: Path = PARAMS) -> list[str]:
    """Return the names of all variants, in the file's order."""
    document, lines = _load(path)
    return list(_variants(document, path, lines))


def read_dataset(path: Path = PARAMS) -> str:
    """Return the name of the dataset that the pipeline works on; `sample` if the file names none.

    Raises:
        AvisError: if the file is missing or malformed, or the name is no text.
    """
    document, lines = _load(path)
    name = document.get("dataset", "sample")
    if not isinstance(name, str) or not name:
        raise AvisError(f"dataset must be a name, not {name!r}", where=_where(path, lines.get(("dataset",))))
    return name


def read_yaml(path: Path = PARAMS) -> dict[str, Any]:
    """Return the whole file as it is written, its blocks' names checked."""
    return _load(path)[0]


Location = tuple[str | int, ...]


def _variants(document: Mapping[str, Any], path: Path, lines: dict[Location, int]) -> dict[str, Any]:
    """The block `variants`, its names checked: they become folders, DVC stages and words of a command."""
    variants = _mapping(document.get("variants"), "variants", path, lines)
    for name in variants:
        if not isinstance(name, str) or not _VARIANT.fullmatch(name):
            raise AvisError(
                f"{name!r} cannot be the name of a variant",
                where=_where(path, lines.get(("variants", str(name)))),
                fix="Use letters, digits, '_', '-' and '.', first a letter, a digit or '_'.",
            )
    return variants


def _load(path: Path) -> tuple[dict[str, Any], dict[Location, int]]:
    """Parse the file; also return the line (1-based) of every key."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise AvisError(
            "there is no parameter file",
            where=str(path),
            fix="Run from the repository root, where params.yaml is.",
        ) from None
    except UnicodeDecodeError:
        raise AvisError("the parameter file is not UTF-8 text", where=str(path)) from None
    except IsADirectoryError:
        raise AvisError("the parameter file is a folder", where=str(path)) from None
    lines: dict[Location, int] = {}
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _collect_lines(node, (), lines, path)
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise AvisError(f"not valid YAML: {problem}", where=f"{path}{line}") from None
    except (ValueError, RecursionError) as error:  # a day that no month has; a block that holds itself
        raise AvisError(f"not valid YAML: {error}", where=str(path)) from None
    document = _mapping(document, "the file", path, lines)
    for key in document:
        if key not in ALLOWED_BLOCKS:
            raise AvisError(
                f"{key!r} is no known block",
                where=_where(path, lines.get((key,))),
                fix=_suggest(str(key), list(ALLOWED_BLOCKS)),
            )
    return document, lines


def _collect_lines(node: yaml.Node | None, place: Location, lines: dict[Location, int], path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*place, str(key.value))
            line = key.start_mark.line + 1
            if here in lines and key.value != "<<":  # YAML would let the later one win in silence
                raise AvisError(
                    f"{_dotted(here)} stands twice",
                    where=f"{path}, lines {lines[here]} and {line}",
                    fix="Keep one.",
                )
            lines[here] = line
            _collect_lines(value, here, lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*place, index)] = value.start_mark.line + 1
            _collect_lines(value, (*place, index), lines, path)


def _mapping(value: object, name: str, path: Path, lines: dict[Location, int]) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        line = lines.get(tuple(name.split(".")))
        raise AvisError(
            f"{name} must be a block of 'key: value' lines, not {value!r}", where=_where(path, line)
        )
    return value


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _names_another_network(train: Mapping[str, Any], changes: Mapping[str, Any]) -> bool:
    old, new = train.get("model"), changes.get("model")
    if not (isinstance(old, Mapping) and isinstance(new, Mapping) and "name" in new):
        return False
    return bool(new["name"] != old.get("name"))


def _validate(
    model: type[M], values: dict[str, Any], path: Path, lines: dict[Location, int], places: list[Location]
) -> M:
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        problems = error.errors()
        first = problems[0]
        location, allowed = _place(model, first["loc"])
        line = next((lines[(*place, *location)] for place in places if (*place, *location) in lines), None)
        place = next((p for p in places if (*p, *location) in lines), places[-1])
        field = _dotted((*place, *location))
        fix = None
        if first["type"] == "extra_forbidden":
            what = f"{field} is no known parameter"
            fix = _suggest(str(location[-1]), allowed)
        elif first["type"] == "missing":
            what = f"{field} is missing"
        else:
            message = first["msg"].removeprefix("Value error, ")
            what = f"{field}: {message[:1].lower()}{message[1:]}"
            if not isinstance(first["input"], Mapping):  # what is wrong with a whole block, its rule says
                what += f", not {first['input']!r}"
        if len(problems) > 1:
            others = ", ".join(_dotted((*places[-1], *_place(model, x["loc"])[0])) for x in problems[1:])
            fix = f"{fix + ' ' if fix else ''}Also wrong: {others}."
        raise AvisError(what, where=_where(path, line), fix=fix) from None


def _place(model: type[BaseModel], location: Location) -> tuple[Location, list[str]]:
    """Where in the file pydantic's location is, and the fields that are allowed there.

    Between a field and what is wrong inside it pydantic names the member of a union, the file does not.
    """
    place: list[str | int] = []
    members: dict[str, type[BaseModel]] = {}
    for part in location[:-1]:
        if str(part) in members:
            model = members[str(part)]
            continue
        place.append(part)
        field = model.model_fields.get(str(part))
        if field is not None:  # else an index
            members = _blocks(field.annotation)
            model = members.get("", model)
    return (*place, *location[-1:]), list(model.model_fields)


def _blocks(annotation: Any) -> dict[str, type[BaseModel]]:
    """Models that a field's values can be of, by their tag in a union; without a union the tag is empty."""
    found: dict[str, type[BaseModel]] = {}
    for kind in (annotation, *get_args(annotation)):
        base, *marks = get_args(kind) if get_origin(kind) is Annotated else (kind,)
        if isinstance(base, type) and issubclass(base, BaseModel):
            found[next((mark.tag for mark in marks if isinstance(mark, pydantic.Tag)), "")] = base
    return found


def _suggest(word: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(word, allowed, n=1)
    meant = f"Did you mean {near[0]!r}? " if near else ""
    return f"{meant}Allowed: {', '.join(allowed) or 'none'}."


def _missing_block(name: str, document: Mapping[str, Any], path: Path) -> AvisError:
    return AvisError(
        f"the block {name!r} is missing",
        where=str(path),
        fix=f"There are: {', '.join(map(str, document)) or 'none'}.",
    )


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location)


def _where(path: Path, line: int | None) -> str:
    return f"{path}, line {line}" if line else str(path)

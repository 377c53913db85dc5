"""Typed blocks of params.yaml, the only configuration file."""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field

from components.core.run.errors import AvisError
from components.core.text.redaction import secrets_of

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


# What a random generator takes; NumPy's end there.
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Block(BaseModel):
    """Base of every stage's parameters: unknown keys are errors, values do not change, numbers are finite."""

    # defaults are validated, too: they must go with what the file says beside them
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)


def without_secrets(address: str, variable: str) -> str:
    """Return a setting as it is, for a validator; what stands in it would be written to locks, logs and runs.

    Raises:
        ValueError: it holds a user, a password or a key; the message names the environment variable to use.
    """
    if secrets_of(address):
        raise ValueError(
            f"an address with a password or a key does not belong into params.yaml: put it in {variable}"
        )
    return address


class EngineParams(Block):
    """How work over many items runs (components/core/run/engine.py)."""

    kind: Literal["local", "ray"] = "local"
    workers: int = Field(default=0, ge=0, le=1024, description="0 = one per core")


M = TypeVar("M", bound=BaseModel)
Location = tuple[str | int, ...]


class ParamsError(AvisError):
    """A block does not fit its type. Its message is the first mistake; `mistakes` are all of them."""

    def __init__(self, mistakes: Sequence[AvisError], fix: str | None) -> None:
        super().__init__(mistakes[0].what, where=mistakes[0].where, fix=fix)
        self.mistakes = list(mistakes)


@dataclass(frozen=True)
class ParamsFile:
    """A parameter file as it is written.

    lines: the line (1-based) of every key and item, by its place from the top.
    """

    path: Path
    values: dict[str, Any]
    lines: dict[Location, int]

    def where(self, place: Location) -> str:
        """The file and the line of a key; where the key is not written, the line of what it belongs to."""
        line = next(
            (self.lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in self.lines), None
        )
        return f"{self.path}, line {line}" if line else str(self.path)

    def unknown_blocks(self) -> list[AvisError]:
        """A mistake for every block that no stage knows."""
        return [
            AvisError(
                f"{key!r} is no known block",
                where=self.where((str(key),)),
                fix=_suggest(str(key), list(ALLOWED_BLOCKS)),
            )
            for key in self.values
            if key not in ALLOWED_BLOCKS
        ]

    def block(
        self,
        name: str,
        model: type[M],
        *,
        override: Mapping[str, Any] | None = None,
        optional: bool = False,
    ) -> M:
        """One block, as read_block reads it."""
        if name not in self.values and not optional:
            raise self.missing(name)
        values = self._mapping(self.values.get(name), (name,))
        return self._validate(model, _merge(values, override or {}), [(name,)])

    def variants(self) -> dict[str, Any]:
        """The block `variants`, its names checked: they become folders, DVC stages and words of a command."""
        variants = self._mapping(self.values.get("variants"), ("variants",))
        wrong = [
            AvisError(
                f"{name!r} cannot be the name of a variant",
                where=self.where(("variants", str(name))),
                fix="Use letters, digits, '_', '-' and '.', first a letter, a digit or '_'.",
            )
            for name in variants
            if not isinstance(name, str) or not _VARIANT.fullmatch(name)
        ]
        if wrong:
            raise ParamsError(wrong, wrong[0].fix)
        return variants

    def variant(self, variant: str, model: type[M]) -> M:
        """One variant, as read_variant reads it."""
        for name in ("train", "variants"):
            if name not in self.values:
                raise self.missing(name)
        variants = self.variants()
        if variant not in variants:
            raise AvisError(
                f"variant {variant!r} does not exist",
                where=f"{self.path}, variants",
                fix=_suggest(variant, list(variants)),
            )
        changes = self._mapping(variants[variant], ("variants", variant))
        train = self._mapping(self.values["train"], ("train",))
        if _names_another_network(train, changes):  # its settings are others: none is taken over
            train = {key: value for key, value in train.items() if key != "model"}
        return self._validate(model, _merge(train, changes), [("variants", variant), ("train",)])

    def dataset(self) -> str:
        """The name of the dataset, `sample` where the file names none."""
        name = self.values.get("dataset", "sample")
        if not isinstance(name, str) or not name:
            raise AvisError(f"dataset must be a name, not {name!r}", where=self.where(("dataset",)))
        return name

    def missing(self, name: str) -> AvisError:
        """What to say where a block is missing."""
        return AvisError(
            f"the block {name!r} is missing",
            where=str(self.path),
            fix=f"There are: {', '.join(map(str, self.values)) or 'none'}.",
        )

    def _mapping(self, value: object, place: Location) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise AvisError(
                f"{_dotted(place) or 'the file'} must be a block of 'key: value' lines, not {value!r}",
                where=self.where(place),
            )
        return value

    def _validate(self, model: type[M], values: dict[str, Any], places: list[Location]) -> M:
        try:
            # as JSON and strict: a list will do for a tuple, but true, or a text, not for a number
            return model.model_validate_json(json.dumps(_with_text_keys(values), default=str), strict=True)
        except pydantic.ValidationError as error:
            problems: dict[Location, Any] = {}
            for problem in error.errors():
                location, _ = _place(model, problem["loc"])
                if location in problems:  # none of a field's types fits
                    problem["msg"] = f"{problems[location]['msg']}, or {problem['msg'].lower()}"
                problems[location] = problem
            mistakes = [self._mistake(model, problem, places) for problem in problems.values()]
            fix = mistakes[0].fix
            if len(mistakes) > 1:
                others = ", ".join(_dotted((*places[-1], *location)) for location in list(problems)[1:])
                fix = f"{fix + ' ' if fix else ''}Also wrong: {others}."
            raise ParamsError(mistakes, fix) from None

    def _mistake(self, model: type[BaseModel], problem: Any, places: list[Location]) -> AvisError:
        location, allowed = _place(model, problem["loc"])
        place = next((p for p in places if (*p, *location) in self.lines), places[-1])
        field, fix = _dotted((*place, *location)), None
        if problem["type"] == "extra_forbidden":
            what = f"{field} is no known parameter"
            fix = _suggest(str(location[-1]), allowed)
        elif problem["type"] == "missing":
            what = f"{field} is missing"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            what = f"{field}: {message[:1].lower()}{message[1:]}"
            if not isinstance(problem["input"], Mapping):  # what is wrong with a whole block, its rule says
                what += f", not {problem['input']!r}"
        return AvisError(what, where=self.where((*place, *location)), fix=fix)


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
    file = ParamsFile(path, {}, {}) if optional and not path.exists() else _load(path)
    return file.block(name, model, override=override, optional=optional)


def read_variant(variant: str, model: type[M], path: Path = PARAMS) -> M:
    """Read the `train` block as the variant changes it: `variants.<variant>` wins, key by key.

    A variant whose `model.name` is another network's has a `model` block of its own, as it stands.

    Raises:
        AvisError: as read_block, and for an unknown variant (it lists the known ones).
    """
    return _load(path).variant(variant, model)


def read_variant_names(path: Path = PARAMS) -> list[str]:
    """Return the names of all variants, in the file's order."""
    return list(_load(path).variants())


def read_dataset(path: Path = PARAMS) -> str:
    """Return the name of the dataset that the pipeline works on; `sample` if the file names none.

    Raises:
        AvisError: if the file is missing or malformed, or the name is no text.
    """
    return _load(path).dataset()


def read_yaml(path: Path = PARAMS) -> dict[str, Any]:
    """Return the whole file as it is written, its blocks' names checked."""
    return _load(path).values


def _load(path: Path) -> ParamsFile:
    file = parse_params(path)
    for mistake in file.unknown_blocks():
        raise mistake
    return file


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads 1e-4 as the number that it is in YAML 1.2, which DVC reads; PyYAML's 1.1 wants 1.0e-4."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def parse_params(path: Path = PARAMS) -> ParamsFile:
    """Parse a parameter file.

    Raises:
        AvisError: it is missing or no YAML, a key stands twice, or it is no mapping.
    """
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
        loader = _Loader(text)
        node = loader.get_single_node()
        _collect_lines(node, (), lines, path)
        values = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise AvisError(f"not valid YAML: {problem}", where=f"{path}{line}") from None
    except (ValueError, RecursionError) as error:  # a day that no month has; a block that holds itself
        raise AvisError(f"not valid YAML: {error}", where=str(path)) from None
    return ParamsFile(path, ParamsFile(path, {}, lines)._mapping(values, ()), lines)


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


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _with_text_keys(inner) for key, inner in value.items()}
    return [_with_text_keys(inner) for inner in value] if isinstance(value, list | tuple) else value


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
            if not members and get_origin(field.annotation) in (Union, UnionType):
                return tuple(
                    place
                ), []  # of several types, such as a number or `auto`: what follows names one
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


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location)

"""Change a config by dotted names, and bring it to and from plain data."""
import dataclasses
import difflib
import logging
import typing
from dataclasses import replace
from typing import Any, TypeVar

from reidlab.config import EXPERIMENTS, Experiment, flatten
from reidlab.errors import ReidlabError

log = logging.getLogger(__name__)
E = TypeVar("E", bound=Experiment)


def change(experiment: E, changes: dict) -> E:
    """A copy with dotted fields replaced; values may be given as text.

    Raises:
        ReidlabError: an unknown field (the nearest names are listed) or an unfit value.
    """
    known = flatten(experiment)
    parts: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
            leaf = [k for k in known if k.endswith("." + name.split(".")[-1])]
            raise ReidlabError(f"unknown field {name!r:.60}; near matches: "
                               f"{', '.join(dict.fromkeys(leaf + near)) or 'none'}")
        first, _, rest = name.partition(".")
        inner = parts.get(first, getattr(experiment, first))
        parts[first] = (_set(inner, rest.split("."), value, name) if rest else
                        _fit(value, typing.get_type_hints(type(experiment))[first], name))
    return replace(experiment, **parts)  # at once: fields that only fit together may be changed


def _set(config, path: list[str], value, name: str):
    if len(path) > 1:
        inner = _set(getattr(config, path[0]), path[1:], value, name)
        return replace(config, **{path[0]: inner})
    kind = typing.get_type_hints(type(config))[path[0]]
    return replace(config, **{path[0]: _fit(value, kind, name)})


def _fit(value, kind, name: str):
    """`value` as the field's type; text is parsed, wrong types are refused."""
    kinds = typing.get_args(kind) or (kind,)
    if typing.get_origin(kind) is typing.Literal:
        found = next((known for known in kinds if str(known) == str(value)), None)
        if found is None:
            raise ReidlabError(f"{name} is {value!r:.60}; known: {', '.join(map(str, kinds))}")
        return found
    if value is None or value in ("none", "None"):
        if type(None) in kinds:
            return None
        if str not in kinds:
            raise ReidlabError(f"{name} cannot be none")
    for target in kinds:
        if target is bool:
            if isinstance(value, bool):
                return value
            if str(value).lower() in ("true", "false"):
                return str(value).lower() == "true"
        elif target in (int, float) and not isinstance(value, bool):
            try:
                number = target(value)
            except (TypeError, ValueError, OverflowError):
                continue
            if target is float or isinstance(value, str) or number == value:
                return number
        elif target is str and isinstance(value, str):
            return value
    wanted = " or ".join(k.__name__ for k in kinds if k is not type(None))
    raise ReidlabError(f"{name} takes {wanted}; got {value!r:.60}")


def to_dict(experiment: Experiment) -> dict:
    """Nested plain data for JSON, with the task it belongs to."""
    return {"task": experiment.task, **dataclasses.asdict(experiment)}


def from_dict(raw: dict) -> Experiment:
    """The experiment of a ``config.json``; a field that it lacks is newer and has its default.

    Raises:
        ReidlabError: a field is unknown or of the wrong type, or the name or size is missing.
    """
    def build(cls, values, path):
        if not isinstance(values, dict):
            raise ReidlabError(f"{path or 'config'} must be an object; got {values!r:.60}")
        hints = typing.get_type_hints(cls)
        hints = {field.name: hints[field.name] for field in dataclasses.fields(cls)}
        extra, missing = values.keys() - hints.keys(), hints.keys() - values.keys()
        needed = {item.name for item in dataclasses.fields(cls)
                  if item.default is item.default_factory is dataclasses.MISSING}
        if extra or missing & needed:
            raise ReidlabError(
                f"{path or 'config'}: " + "; ".join(
                    f"{word} {', '.join(sorted(names))}" for word, names in (
                        ("unknown field", extra), ("missing field", missing & needed))
                    if names) + "; was it written by another version?")
        for name in sorted(missing):
            log.info("config has no %s%s, which is newer; its default is used", path, name)
        return cls(**{
            name: build(kind, values[name], f"{path}{name}.") if dataclasses.is_dataclass(kind)
            else _fit(values[name], kind, f"{path}{name}")
            for name, kind in hints.items() if name not in missing})

    if not isinstance(raw, dict):
        raise ReidlabError(f"config must be an object; got {raw!r:.60}")
    if "task" not in raw:
        raise ReidlabError("config: missing field task; was it written by another version?")
    task = raw["task"]
    if not isinstance(task, str) or task not in EXPERIMENTS:
        raise ReidlabError(f"task {task!r:.60} is unknown; known: {', '.join(EXPERIMENTS)}")
    return build(EXPERIMENTS[task], {k: v for k, v in raw.items() if k != "task"}, "")

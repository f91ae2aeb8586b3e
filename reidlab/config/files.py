"""Fields of an experiment from a file: YAML, JSON, or what a run kept of its own."""
from pathlib import Path
from typing import Any

import yaml

from reidlab.errors import MissingPath, ReidlabError
from reidlab.files import read_json


def read_config(path: Path) -> dict[str, Any]:
    """What a file says: a whole experiment, which has ``task``, or some fields.

    Raises:
        MissingPath: no such file.
        ReidlabError: it cannot be read, or holds no fields.
    """
    if path.suffix == ".json":
        found = read_json(path)
    else:
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError as fault:
            raise MissingPath(f"no file {path}") from fault
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as fault:
            why = " ".join(str(fault).split())[:120]
            raise ReidlabError(f"{path} is no readable YAML ({why}); write lines such as "
                               "training.lr: 0.001") from fault
    held = found.get("experiment", found) if isinstance(found, dict) else found
    if not isinstance(held, dict) or not held:
        raise ReidlabError(f"{path} holds no fields; write lines such as training.lr: 0.001")
    return held


def fields_of(held: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"training": {"lr": 1}}`` → ``{"training.lr": 1}``, whichever way it is written."""
    flat: dict[str, Any] = {}
    for name, value in held.items():
        flat |= fields_of(value, f"{prefix}{name}.") if isinstance(value, dict) else {
            f"{prefix}{name}": value}
    return flat

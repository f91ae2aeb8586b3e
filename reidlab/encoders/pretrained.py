"""Load published weights from a folder or a hub, whole, or say plainly what is wrong with them."""
import contextlib
import hashlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import transformers
from transformers import PreTrainedConfig, PreTrainedModel

from reidlab.errors import MissingPath, ReidlabError

SHIPPED = Path(__file__).parent.parent / "pretrained"
OURS = ("pooler.", "classifier.", "lm_head.", "cls.")  # heads that no encoder of the kit has
TOWERS = {  # kind of a part → kind of published weights that hold it among others
    "clip_vision_model": "clip", "clip_text_model": "clip", "siglip_vision_model": "siglip"}
_configs_alone = ContextVar("configs_alone", default=False)


@contextlib.contextmanager
def weights_come_later() -> Iterator[None]:
    """Inside, `load_pretrained` builds models from their configuration: a run's checkpoint has the
    weights, and its folder the configuration."""
    before = _configs_alone.set(True)
    try:
        yield
    finally:
        _configs_alone.reset(before)


def located(where: str) -> str:
    """``reidlab:NAME`` as the folder of weights that the package ships; other names as they are.

    Raises:
        MissingPath: the package ships none of that name.
    """
    if not where.startswith("reidlab:"):
        return where
    name, known = where.removeprefix("reidlab:"), sorted(p.parent.name for p in
                                                         SHIPPED.glob("*/config.json"))
    if name not in known:
        raise MissingPath(f"pretrained weights {where!r}: reidlab ships "
                          f"{', '.join(f'reidlab:{k}' for k in known) or 'none'}; choose one of "
                          "them, a folder or a hub id")
    return str(SHIPPED / name)


def load_pretrained(kind: Any, where: str, **options) -> Any:
    """``kind.from_pretrained(where)``; of a model, in train mode, every weight comes from the file.

    Args:
        kind: a transformers class with ``from_pretrained``: config, tokenizer or model.
        where: ``reidlab:NAME``, a local folder, or a hub id such as ``bert-base-uncased``.

    Raises:
        MissingPath: neither a complete folder nor a hub id that can be reached.
        ReidlabError: a model of another kind, or a file that lacks some of the weights.
    """
    where = located(where)
    quiet = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        if issubclass(kind, PreTrainedConfig):
            _refuse_another_kind(kind, where)
        if not issubclass(kind, PreTrainedModel):
            return kind.from_pretrained(where, **options)
        config: Any = kind.config_class
        _refuse_another_kind(config, where)
        if _configs_alone.get():
            return _without_weights(kind, where, **options)
        found: Any = kind.from_pretrained(where, output_loading_info=True, **options)
        model, report = found
    except ReidlabError:
        raise
    except Exception as fault:  # damaged folders fail in many ways inside the libraries
        state = "exists but holds no complete model" if Path(where).exists() else "is not there"
        raise MissingPath(
            f"pretrained weights {where!r}: the folder {state}, and no hub gave them; download "
            f"the model into a folder and set image.pretrained / text.pretrained to it, or go "
            "online for the hub id, or train from scratch: image.pretrained=none "
            "text.pretrained=none") from fault
    finally:
        transformers.logging.set_verbosity(quiet)
    fresh = sorted({name if isinstance(name, str) else name[0]
                    for part in ("missing_keys", "mismatched_keys") for name in report[part]})
    fresh = [name for name in fresh if not name.startswith(OURS)]
    if fresh:
        raise ReidlabError(
            f"pretrained weights {where!r} lack {len(fresh)} of the {len(model.state_dict())} "
            f"tensors of a {kind.__name__}, first {fresh[0]}: they would be random; choose weights "
            f"of a {config.model_type}")
    return model.train()  # as a new model is


def _without_weights(kind: Any, where: str, **options) -> Any:
    """What ``from_pretrained`` builds, with random weights."""
    attention, dtype = options.pop("attn_implementation", None), options.pop("dtype", None)
    parts = {k: v for k, v in options.items() if k == "add_pooling_layer"}
    config = kind.config_class.from_pretrained(
        where, **{k: v for k, v in options.items() if k not in parts})
    config._attn_implementation = attention
    return kind(config, **parts).to(dtype).train()


def refuse_another_shape(part: str, config, held: dict[str, Any]) -> None:
    """Fields of an experiment that the weights decide must say what the weights are.

    Args:
        part: ``image`` or ``text``.
        config: that part of the experiment.
        held: field → value, as the weights have it.

    Raises:
        ReidlabError: the fields that differ, and what to set.
    """
    other = {name: value for name, value in held.items() if getattr(config, name) != value}
    if other:
        asked = ", ".join(f"{part}.{name} {getattr(config, name)}" for name in other)
        fitting = " ".join(f"{part}.{name}={value}" for name, value in other.items())
        raise ReidlabError(f"the pretrained weights {config.pretrained!r} have another shape than "
                           f"{asked}; set {fitting}, or {part}.pretrained=none to train from "
                           "scratch")


def digest(where: str | None) -> str | None:
    """Sixteen hex digits of the weights in a folder; None where none can be read, which loading
    then tells."""
    if not where:
        return None
    found = hashlib.sha256()
    try:
        files = sorted(Path(located(where)).glob("*.safetensors"))
        for file in files:
            with file.open("rb") as weights:
                found.update(hashlib.file_digest(weights, "sha256").digest())
    except (OSError, ValueError):  # no right to read, or no path at all
        return None
    return found.hexdigest()[:16] if files else None


def model_type(where: str | None) -> str | None:
    """Of which kind weights are; None where nothing says so, which loading then tells."""
    try:
        return PreTrainedConfig.get_config_dict(located(where))[0].get("model_type") if where else (
            None)
    except Exception:  # damaged folders fail in many ways inside the library
        return None


def says(where: str, field: str) -> bool:
    """Whether the configuration of pretrained weights has a field that is on; False where there is
    none to read, which loading then tells."""
    try:
        return bool(PreTrainedConfig.get_config_dict(located(where))[0].get(field))
    except Exception:  # damaged folders fail in many ways inside the library
        return False


def _refuse_another_kind(config: type[PreTrainedConfig], where: str) -> None:
    """A model of another kind fits by no name and would leave everything random."""
    found = PreTrainedConfig.get_config_dict(where)[0].get("model_type")
    if found is None:
        raise OSError("no config.json that says what model it is")
    if found not in (config.model_type, TOWERS.get(config.model_type)):
        raise ReidlabError(f"pretrained weights {where!r} are of a {found!r} model; this part is a "
                           f"{config.model_type!r}: choose weights of that kind")

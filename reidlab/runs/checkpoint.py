"""Everything a run needs to go on, in one safetensors file; nothing is ever unpickled."""
import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from reidlab.errors import MissingPath, ReidlabError
from reidlab.files import write_whole
from reidlab.runs.note_names import kit_names


def save(path: Path, parts: dict[str, nn.Module], optimizer=None,
         random: dict[str, Tensor] | None = None, **state) -> None:
    """Write weights, and on request what resuming needs.

    Args:
        path: file to write, whole or not at all.
        parts: modules by name.
        optimizer: its moments go along, and so does the random state.
        random: `random_states` of all processes; by default this one's.
        state: small plain data (step, best score …).
    """
    write(path, snapshot(parts, optimizer, random), state)


def snapshot(parts: dict[str, nn.Module], optimizer=None, random: dict[str, Tensor] | None = None
             ) -> dict[str, Tensor]:
    """A copy in memory of what `save` writes: training may go on while it is written."""
    tensors = {f"{name}.{key}": value.detach().to("cpu", copy=True).contiguous()
               for name, module in parts.items() for key, value in module.state_dict().items()}
    if optimizer is not None:
        for k, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{k}.{key}": value.detach().to("cpu", copy=True).contiguous()
                        for key, value in moments.items()}
        if random is None:
            random = {name: state[None] for name, state in random_states().items()}
        tensors |= {f"random.{name}": states.cpu() for name, states in random.items()}
    return tensors


def write(path: Path, tensors: dict[str, Tensor], state: dict) -> None:
    """Write a `snapshot`, whole or not at all."""
    blob = safetensors.torch.save(tensors, metadata={"reidlab": json.dumps(state)})
    write_whole(path, lambda out: out.write(blob))


def random_states() -> dict[str, Tensor]:
    """State of this process's generators, (n,) bytes each, by device."""
    found = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_rng_state()
    return found


def read(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Tensors and state of a file that `save` wrote.

    Raises:
        MissingPath: no such file; ReidlabError: damaged, or written by something else.
    """
    if not Path(path).exists():
        raise MissingPath(f"no checkpoint at {path}; train first, or name another run")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {})["reidlab"])
            if not isinstance(state, dict):
                raise ValueError("its state is no object")
            return {key: file.get_tensor(key) for key in file.keys()}, state
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as fault:
        raise _damaged(path, fault) from fault


def _damaged(path: Path, fault: Exception) -> ReidlabError:
    why = " ".join(f"{fault}".split())[:200]
    return ReidlabError(f"{path} cannot be read as a reidlab checkpoint ({why}); delete it to "
                        "start again, or restore it")


def restore(path: Path, parts: dict[str, nn.Module], optimizer=None, rank: int = 0) -> dict:
    """Put a checkpoint back exactly; returns its state. Process `rank` gets its own random state.

    Raises:
        ReidlabError: the weights do not fit these modules.
    """
    tensors, state = read(path)
    for name, module in parts.items():
        own = {k.removeprefix(f"{name}."): v for k, v in tensors.items()
               if k.startswith(f"{name}.")}
        try:
            module.load_state_dict(own)
        except RuntimeError as fault:
            reason = " ".join(str(fault).split())[:200]
            raise ReidlabError(f"{path} does not fit this model: {reason}") from fault
    if optimizer is not None:
        try:
            _restore_progress(tensors, state, optimizer, rank)
        except (KeyError, ValueError, TypeError, RuntimeError) as fault:
            raise _damaged(path, fault) from fault
    return state


def _restore_progress(tensors: dict[str, Tensor], state: dict, optimizer, rank: int) -> None:
    """Moments of the optimizer, each of its weight's shape, and the random state."""
    if not (isinstance(state["step"], int) and state["step"] >= 0
            and isinstance(state["best"], int | float)):
        raise ValueError(f"step {state['step']!r} and best score {state['best']!r} are no numbers")
    moments: dict[int, dict] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, place, name = key.split(".")
            moments.setdefault(int(place), {})[name] = value
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    for k, found in moments.items():
        if not 0 <= k < len(weights) or found.keys() != {"step", "exp_avg", "exp_avg_sq"} or any(
                m.dim() and m.shape != weights[k].shape for m in found.values()):
            raise ValueError(f"moments {k} fit no weight")
    optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
    for name, put in (("torch", torch.set_rng_state), ("cuda", torch.cuda.set_rng_state)):
        if name == "torch" or (f"random.{name}" in tensors and torch.cuda.is_available()):
            states = tensors[f"random.{name}"]
            states = states[None] if states.dim() == 1 else states  # as one process once wrote it
            put(states[rank % len(states)].clone())  # torch reads the storage from its start


def copy_state_dict(module: nn.Module, weights: dict[str, Any]) -> list[str]:
    """Copy the tensors that fit by name and shape; say what was left out.

    Args:
        module: takes the weights.
        weights: a plain state dict, or one under ``state_dict`` or ``model``, with or without
            a ``module.`` prefix, under the kit's names or those of notes 000 to 003; a checkpoint
            of the kit, too.

    Returns:
        One line for each tensor that was skipped or not given; empty when all fitted.

    Raises:
        ReidlabError: no tensor fits at all.

    Source: note 001 §2.12, note 003 §5.
    """
    for layout in ("state_dict", "model"):
        if isinstance(weights.get(layout), dict):
            weights = weights[layout]
    given = {k.removeprefix("module."): v for k, v in weights.items() if isinstance(v, Tensor)}
    own = module.state_dict()
    for part in ("model", "loss"):  # a checkpoint of the kit holds several modules by name
        inner = {k.removeprefix(f"{part}."): v for k, v in given.items()
                 if k.startswith(f"{part}.")}
        if not given.keys() & own.keys() and inner.keys() & own.keys():
            given = inner
    for name in [n for n in given if n not in own]:
        if targets := kit_names(name, own):
            given |= dict.fromkeys(targets, given.pop(name))
    if not given.keys() & own.keys():
        raise ReidlabError(f"no tensor of these weights fits by name: they begin with "
                           f"{', '.join(sorted(given)[:3]) or 'nothing'}, the model with "
                           f"{', '.join(sorted(own)[:3])}; name weights of this design")
    skipped = []
    for name, value in given.items():
        if name not in own:
            skipped.append(f"{name}: unknown here")
        elif own[name].shape != value.shape:
            skipped.append(f"{name}: {tuple(value.shape)} given, {tuple(own[name].shape)} needed")
        else:
            own[name].copy_(value)
    return skipped + [f"{name}: not given" for name in own if name not in given]


def load_param(module: nn.Module, path: str | Path) -> list[str]:
    """Load a weight file into `module`; safetensors or a ``weights_only`` torch file.

    Raises:
        MissingPath: no such file; ReidlabError: it holds no weights.
    """
    path = Path(path)
    if not path.exists():
        raise MissingPath(f"no weights at {path}; name a .safetensors or .pth file")
    try:
        weights = (safetensors.torch.load_file(path) if path.suffix == ".safetensors"
                   else torch.load(path, map_location="cpu", weights_only=True))
        if not isinstance(weights, dict):
            raise ReidlabError(f"{path} holds a {type(weights).__name__}, not a state dict")
    except ReidlabError:
        raise
    except Exception as fault:  # damaged files fail in many ways inside torch and zip
        raise ReidlabError(f"{path} cannot be read as weights ({type(fault).__name__}); is it a "
                           ".safetensors file or a plain torch state dict?") from fault
    return copy_state_dict(module, weights)

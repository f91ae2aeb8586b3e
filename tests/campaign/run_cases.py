"""Damaged run folders and caches, and every command that reads them."""
import json
import os
import struct
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np

from tests.campaign.cases import Case
from tests.campaign.mutations import (
    NO_FILES,
    VALUES,
    json_bytes,
    put_in_place,
    spoil_bytes,
    spoil_json,
    spoil_json_file,
)
from tests.campaign.running import Place
from tests.campaign.world import DESCRIPTION, INFRARED, TEXT, World, compare, sweep, train

LOCKS = (b"", b"0", b"-1", b"1", b"2", b"99999999999999999999", b"9" * 5000, b"text", b"\xff\xfe",
         b"1 2", b"4194304", b"\xc2\xb2", b'{"pid": null}', b"[]", b"{}")


def runs(random: Random, world: World, place: Place, count: int) -> Case:
    """A run folder with one damaged file, read by one command."""
    design = random.choice((TEXT, TEXT, INFRARED))
    stopped = random.random() < 0.35
    command = "train" if stopped else random.choice(
        ("train", "evaluate", "search", "compare", "sweep") if design == TEXT
        else ("train", "evaluate", "compare", "sweep"))
    world.lend_cache(place)
    run = world.lend_runs(place, command, design) if command in ("compare", "sweep") else (
        world.lend_run(place, design, "run", stopped))
    damage = list(DAMAGE)[count % len(DAMAGE)]
    what = DAMAGE[damage](random, run, world)
    state = "stopped" if stopped else "finished"
    return Case(f"{state} {design}: {what}", [COMMANDS[command](design)])


COMMANDS = {"train": train, "compare": compare, "sweep": sweep,
            "evaluate": lambda design: ["evaluate", "run"],
            "search": lambda design: ["search", "run", DESCRIPTION, "-k", "3"]}


def _json(name: str):
    def damage(random: Random, run: Path, world: World) -> str:
        file = run / name
        if not file.exists():  # a stopped run lacks some
            file.write_bytes(json_bytes(random.choice(VALUES)))
            return f"{name}: made up"
        if random.random() < 0.1:
            return put_in_place(file, random.choice(NO_FILES))
        return spoil_json_file(random, file)
    return damage


def _metrics(random: Random, run: Path, world: World) -> str:
    """The log: bytes, or values of a row."""
    file = run / "metrics.jsonl"
    if random.random() < 0.1:
        return put_in_place(file, random.choice(NO_FILES))
    if random.random() < 0.3:
        what, data = spoil_bytes(random, file.read_bytes())
    else:
        lines = file.read_bytes().splitlines()
        at = random.randrange(len(lines))
        what, row = spoil_json(random, json.loads(lines[at]))
        data = b"\n".join([*lines[:at], json_bytes(row), *lines[at + 1:]]) + b"\n"
    file.write_bytes(data)
    return f"{file.name}: {what}"


def _tokenizer(random: Random, run: Path, world: World) -> str:
    folder = run / "tokenizer"
    if not folder.exists():
        return put_in_place(folder, random.choice(NO_FILES))
    if random.random() < 0.2:
        return put_in_place(folder, random.choice(NO_FILES))
    file = random.choice(sorted(folder.iterdir()))
    return spoil_json_file(random, file) if file.suffix == ".json" else put_in_place(
        file, random.choice(NO_FILES))


def _checkpoint(random: Random, run: Path, world: World) -> str:
    """Weights: bytes, header, state, tensors, or another run's file."""
    file = run / "checkpoints" / random.choice(("last.safetensors", "best.safetensors"))
    if not file.exists():
        file.write_bytes(b"")
    kind = random.choice(("bytes", "header", "state", "state", "tensors", "other", "no file"))
    data = file.read_bytes()
    if kind == "no file":
        return put_in_place(file, random.choice(NO_FILES))
    if kind == "other" or not data:
        other = random.choice((TEXT, INFRARED))
        source = random.choice(sorted((world.root / other / "work/run/checkpoints").iterdir()))
        file.write_bytes(source.read_bytes())
        return f"{file.name}: {other}'s {source.name}"
    if kind == "bytes":
        what, data = spoil_bytes(random, data)
    else:
        what, data = _spoil_tensors(random, kind, data)
    file.write_bytes(data)
    return f"{file.name}: {what}"


def _spoil_tensors(random: Random, kind: str, data: bytes) -> tuple[str, bytes]:
    """A safetensors file with another header over the same numbers."""
    size = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8:8 + size]), data[8 + size:]
    names = [name for name in header if name != "__metadata__"]
    if kind == "header":
        what, header = spoil_json(random, header)
    elif kind == "state":
        what, state = spoil_json(random, json.loads(header["__metadata__"]["reidlab"]))
        header["__metadata__"]["reidlab"] = json_bytes(state).decode()
    else:
        name = random.choice([n for n in names if n.startswith("optimizer.")] * 2 + names)
        new = random.choice(("optimizer.x.y", "optimizer.0", "optimizer.999.step", "", "model",
                             "a.b.c.d", f"{name}2", "random.torch"))
        what = f"{name} is called {new!r}"
        header[new] = header.pop(name)
    text = json.dumps(header).encode()
    return what, struct.pack("<Q", len(text)) + text + body


def _lock(random: Random, run: Path, world: World) -> str:
    if random.random() < 0.4:
        return put_in_place(run / "lock", random.choice(NO_FILES))
    text = random.choice((*LOCKS, str(os.getppid()).encode()))
    (run / "lock").write_bytes(text)
    return f"lock: {text[:30]!r}"


def _stop(random: Random, run: Path, world: World) -> str:
    return put_in_place(run / "stop", random.choice(NO_FILES))


def _part(random: Random, run: Path, world: World) -> str:
    """What looks like a leftover of a killed process, but is something else."""
    part = run / random.choice((".config.json.7.part", ".tokenizer.part", ".x.part",
                                "checkpoints/.last.safetensors.7.part"))
    what = random.choice((*NO_FILES, "link to a folder of the user"))
    if what in NO_FILES:
        return put_in_place(part, what)
    part.symlink_to(world.root / "things" / "work" / "full")
    return f"{part.name}: {what}"


def _foreign(random: Random, run: Path, world: World) -> str:
    """A file of another task's run, or one that is no file."""
    name = random.choice(("config.json", "report.json", "plan.json", "machine.json"))
    if random.random() < 0.3:
        return put_in_place(run / name, random.choice(NO_FILES))
    theirs = world.root / random.choice((TEXT, INFRARED)) / "work" / "run" / name
    (run / name).write_bytes(theirs.read_bytes())
    return f"{name} of {theirs.parent.parent.parent.name}"


DAMAGE = {"config": _json("config.json"), "checkpoint": _checkpoint, "metrics": _metrics,
          "report": _json("report.json"), "lock": _lock, "tokenizer": _tokenizer,
          "last": _checkpoint, "machine": _json("machine.json"), "plan": _json("plan.json"),
          "part": _part, "settings": _json("config.json"), "stop": _stop, "foreign": _foreign}


def cache(random: Random, world: World, place: Place, count: int) -> Case:
    """A damaged cache file, or a cache that is no folder; a pickle in it must never be opened."""
    if count % 5 == 4:
        odd = random.choice(("file", "/dev/null", "/proc", "x" * 300, "file/inside", "~nobody"))
        world.lend_things(place)
        return Case(f"cache at {odd:.20}", [train(TEXT, "new")], environment={"REIDLAB_CACHE": odd})
    world.lend_cache(place)
    said = []
    damage = random.choice(("bytes", "pickle", "shape", "no file"))
    instead = random.choice(NO_FILES[1:])
    for file in sorted(place.cache.iterdir()):  # all, since one command reads some of them
        if damage == "no file":
            said.append(put_in_place(file, instead))
        else:
            what, data = spoil_bytes(random, file.read_bytes()) if damage == "bytes" else (
                damage, _array(damage))
            file.write_bytes(data)
            said.append(f"{file.suffix}: {what}")
    return Case(f"cache: {'; '.join(said)[:160]}", [train(TEXT), train(INFRARED, "infrared")])


class _Witness:
    """Leaves a file behind when somebody unpickles it."""

    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def _array(damage: str) -> bytes:
    out = BytesIO()
    wrong = np.array([_Witness()], object) if damage == "pickle" else np.zeros((3, 2), np.float64)
    np.save(out, wrong, allow_pickle=True)
    return out.getvalue()

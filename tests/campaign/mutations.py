"""Ways to spoil bytes, JSON and lists; each says what it did.

Every function draws from a `random.Random`, so that a case number gives the same damage again.
"""
import copy
import json
import os
import shutil
from pathlib import Path
from random import Random

LONG = "@a number of 5000 digits@"  # JSON text holds it, Python's json refuses to write it
DEEP = 100_000
VALUES = (None, True, -1, 0, 0.5, 2 ** 63, -(2 ** 63) - 1, 10 ** 400, 1e308, float("nan"),
          float("inf"), float("-inf"), "", " ", "text", "²", "\0", "\ud800", "\u202e", "x" * 5000,
          "../../../etc/passwd", "/etc/passwd", "a\\b.png", ".", [], {}, [[]], [None], {"": None},
          [1, "2", None], LONG)
LABELS = ("x", "²", "-1", "1.5", "", "9" * 5000, str(2 ** 63), "0", "٣", "1e3", "nan", "1_0", "+1")


def spoil_bytes(random: Random, data: bytes) -> tuple[str, bytes]:
    """Damage that knows nothing of the format."""
    cut = random.randrange(len(data)) if data else 0
    return random.choice(
        [
            ("empty", b""),
            (f"cut at {cut}", data[:cut]),
            (f"NUL at {cut}", data[:cut] + b"\0" + data[cut:]),
            (
                f"byte {cut} flipped",
                data[:cut] + bytes(255 - b for b in data[cut : cut + 1]) + data[cut + 1 :],
            ),
            ("utf-16", data.decode("latin-1").encode("utf-16")),
            ("BOM", b"\xef\xbb\xbf" + data),
            ("latin-1", b"\xe9\xfc" + data),
            ("a lone surrogate", data[:cut] + b"\xed\xa0\x80" + data[cut:]),
            ("brackets", b"[" * DEEP),
            ("objects", b'{"a":' * DEEP),
            ("noise", random.randbytes(999)),
            ("permutation_95", b"permutation_95"),
            ("a list", b"[]"),
            ("an object", b"{}"),
            ("a number", b"3"),
            ("a string", b'"text"'),
            ("words", b"not found\n"),
            ("twice", data + data),
            ("HTML", b"<!DOCTYPE html><html><body>404</body></html>"),
            ("NUL bytes", bytes(4096)),
        ]
    )


def spoil_json(random: Random, value) -> tuple[str, object]:
    """One damage to a random node of plain data, which is left alone; returns a changed copy."""
    value = copy.deepcopy(value)
    holder, key, path = _node(random, value)
    if holder is None:
        return "replaced", random.choice(VALUES)
    kind = random.choice(("value", "value", "value", "drop", "double", "rename", "nest", "cast"))
    if kind == "drop":
        del holder[key]
    elif kind == "double" and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif kind == "rename" and isinstance(holder, dict):
        holder[f"{key}2"] = holder.pop(key)
    elif kind == "nest":
        holder[key] = [[holder[key]]]
    elif kind == "cast":
        holder[key] = holder[key] if isinstance(holder[key], dict | list) else str(holder[key])
        holder[key] = dict(enumerate(holder[key])) if isinstance(holder[key], list) else holder[key]
    else:
        kind = holder[key] = random.choice(VALUES)
    return f"{path}: {kind!r:.40}", value


def _node(random: Random, value) -> tuple:
    """A random place in nested data: its holder, its key there, and its path in words."""
    holder, key, path = None, None, ""
    while isinstance(value, dict | list) and value and (holder is None or random.random() < 0.85):
        holder = value
        keys = sorted(value, key=str) if isinstance(value, dict) else range(len(value))
        key = random.choice(keys)
        value, path = holder[key], f"{path}/{key}"
    return holder, key, path


def json_bytes(value) -> bytes:
    """JSON text; numbers too long for Python's own writer go in by hand."""
    return json.dumps(value).replace(json.dumps(LONG), "9" * 5000).encode()


def spoil_json_file(random: Random, file: Path) -> str:
    """Damage to a JSON file: to its bytes, or to one to three of its values."""
    data = file.read_bytes()
    if random.random() < 0.35:
        what, data = spoil_bytes(random, data)
    else:
        value, said = json.loads(data), []
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            what, value = spoil_json(random, value)
            said.append(what)
        what, data = "; ".join(said), json_bytes(value)
    file.write_bytes(data)
    return f"{file.name}: {what}"


def spoil_list_file(random: Random, file: Path) -> str:
    """Damage to a list of numbers, or of paths with labels."""
    data = file.read_bytes()
    lines = data.decode().splitlines()
    at = random.randrange(len(lines))
    path, space, label = lines[at].rpartition(" ")
    numbers = lines[at].split(",")
    bad = random.choice(LABELS)
    aside = random.choice(("../../../etc/passwd", "/etc/passwd", "", ".", "x" * 5000, "a\0b.bmp"))
    changed = {
        f"label {bad:.20}": f"{path} {bad}" if space else ",".join([bad, *numbers[1:]]),
        "backslashes": lines[at].replace("/", "\\"), "no label": path, "only a label": label,
        f"path {aside:.30}": f"{aside} {label}", "tabs": lines[at].replace(" ", "\t"),
        "spaces": lines[at].replace(" ", "  ").replace(",", " , "),
        "the same line": lines[0], "one of all": numbers[0],
        "twice": f"{lines[at]},{numbers[0]}" if not space else f"{lines[at]}\n{lines[at]}",
    }
    what = random.choice([*changed, "bytes", "missing", "folder", "one line", "CRLF"])
    if what in changed:
        file.write_text("\n".join([*lines[:at], changed[what], *lines[at + 1:]]) + "\n")
    elif what == "bytes":
        what, data = spoil_bytes(random, data)
        file.write_bytes(data)
    elif what in ("missing", "folder"):
        put_in_place(file, what)
    elif what == "one line":
        file.write_text(lines[at] + "\n")
    else:
        file.write_bytes(data.replace(b"\n", b"\r\n"))
    return f"{file.name}: {what}"


def put_in_place(path: Path, what: str) -> str:
    """Something that is no regular file in place of one: missing, folder, FIFO, link …"""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if what == "folder":
        path.mkdir()
    elif what == "full folder":
        path.mkdir()
        (path / "inside").write_text("x")
    elif what == "FIFO":
        os.mkfifo(path)
    elif what == "dangling link":
        path.symlink_to("nowhere")
    elif what == "link to itself":
        path.symlink_to(path.name)
    elif what == "link to a device":
        path.symlink_to("/dev/zero")
    return f"{path.name}: {what}"


NO_FILES = ("missing", "folder", "full folder", "FIFO", "dangling link", "link to itself",
            "link to a device")

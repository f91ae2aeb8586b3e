"""Ways to spoil a picture: other formats under its name, damage, and things that are no file."""
import os
import struct
import zlib
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from tests.campaign.mutations import NO_FILES, put_in_place, spoil_bytes

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n"


def spoil_picture(random: Random, file: Path) -> str:
    """Something else in place of a picture file, under its name."""
    data = file.read_bytes()
    made = {
        "PostScript": lambda: POSTSCRIPT, "huge size declared": lambda: _png(100_000, 100_000),
        "no size": lambda: _png(0, 0), "bomb": lambda: _png(12_000, 12_000),
        "16-bit": lambda: _saved("PNG", Image.fromarray(np.full((48, 32), 40_000, np.uint16))),
        "float TIFF": lambda: _saved("TIFF", Image.fromarray(np.ones((48, 32), np.float32))),
        "JPEG": lambda: _saved("JPEG", _plain()), "WebP": lambda: _saved("WEBP", _plain()),
        "CMYK JPEG": lambda: _saved("JPEG", _plain().convert("CMYK")),
        "turned by EXIF": lambda: _saved("JPEG", _plain(), exif=_turned()),
        "one pixel": lambda: _saved("PNG", _plain().resize((1, 1))),
        "transparent": lambda: _saved("PNG", _plain().convert("RGBA")),
        "palette": lambda: _saved("PNG", _plain().convert("P")),
        "moving GIF": lambda: _saved("GIF", _plain(), save_all=True, append_images=[_plain()]),
        "icon": lambda: _saved("ICO", _plain()), "PDF": lambda: b"%PDF-1.4\n",
        "text": lambda: b"not a picture\n",
    }
    what = random.choice([*made, *NO_FILES, "bytes", "bytes", "bytes", "cut", "hidden", "name"])
    if what in made:
        file.write_bytes(made[what]())
    elif what in NO_FILES:
        put_in_place(file, what)
    elif what == "bytes":
        what, data = spoil_bytes(random, data)
        file.write_bytes(data)
    elif what == "cut":
        file.write_bytes(data[:len(data) // 2])
    elif what == "hidden":
        file.with_name(f"._{file.name}").write_bytes(b"\0\5\26\7 of a Finder")
    else:
        what = "a name that is no UTF-8"
        Path(os.fsdecode(os.fsencode(file.parent) + b"/\xff" + os.fsencode(file.suffix))
             ).write_bytes(data)
    return f"{file.name}: {what}"


def _plain() -> Image.Image:
    return Image.new("RGB", (32, 48), (90, 120, 150))


def _saved(kind: str, picture: Image.Image, **options) -> bytes:
    out = BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def _png(width: int, height: int) -> bytes:
    """A PNG whose header declares a size; its one data chunk is nearly nothing."""
    def chunk(name: bytes, body: bytes) -> bytes:
        return (struct.pack(">I", len(body)) + name + body
                + struct.pack(">I", zlib.crc32(name + body)))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0,
                                                              0, 0))
            + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b""))

"""Picture files of other people: which ones are listed, and what keeps one from being opened.

Shapes: H, W height and width in pixels.
"""
import os
import stat
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from reidlab.errors import MissingPath, ReidlabError

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
# Pillow knows many more. PostScript is among them, and Pillow has Ghostscript run it.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF")
AGAIN = "fetch it again or leave it out"


class PictureFault(ReidlabError):
    """A picture that cannot be used.

    Args:
        path: its file.
        what: is wrong with it; a phrase that goes on after the path.
        fix: what to do.
    """

    def __init__(self, path: Path, what: str, fix: str = AGAIN):
        super().__init__(f"{path} {what}; {fix}")
        self.what, self.fix = what, fix


class MissingPicture(PictureFault, MissingPath):
    """A picture that is named and not there, or a link to nothing."""


def regular(path: Path) -> os.stat_result:
    """What the file system knows of a picture; a device or a pipe would be waited for forever.

    Raises:
        MissingPicture: no such file; PictureFault: out of reach, or no regular file.
    """
    try:
        known = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as fault:
        raise MissingPicture(path, "is missing") from fault
    except (OSError, ValueError) as fault:  # ValueError: a null byte in the name
        raise PictureFault(path, f"cannot be read ({_reason(fault)})") from fault
    if not stat.S_ISREG(known.st_mode):
        raise PictureFault(path, "is no regular file", "leave it out")
    return known


def open_picture(path: Path, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 of one picture file, upright, resized when it has another size.

    Raises:
        MissingPicture: no such file; PictureFault: damaged, too large, of no known format, or
            of values whose range is not known.
    """
    picture = _decoded(path)
    if picture.size != (size[1], size[0]):
        picture = picture.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def picture_fault(path: Path) -> PictureFault | None:
    """Why a picture cannot be used; None where it can."""
    try:
        _decoded(path)
    except PictureFault as fault:
        return fault
    return None


def pictures_in(folder: Path) -> list[Path]:
    """All picture files below a folder, sorted; hidden files and folders are left out.

    Raises:
        MissingPath: no such folder, or none in it; ReidlabError: a folder that cannot be read.
    """
    found = []
    for place, below, names in os.walk(folder, onerror=_refuse):
        below[:] = [name for name in below if not _hidden(name)]
        found += [Path(place) / name for name in names if _is_picture(name)]
    if not found:
        raise MissingPath(f"no pictures ({', '.join(ENDINGS)}) in {folder}")
    return sorted(found)


def pictures_directly_in(folder: Path) -> list[Path]:
    """Picture files of one folder, sorted by name; none where there is no such folder.

    Raises:
        ReidlabError: a folder that cannot be read.
    """
    try:
        names = os.listdir(folder)
    except OSError as fault:
        _refuse(fault)
        return []
    return [folder / name for name in sorted(names) if _is_picture(name)]


def _decoded(path: Path) -> Image.Image:
    """A whole picture, RGB, as its camera was held."""
    regular(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as picture:
                if picture.mode in ("I", "F") or picture.mode.startswith("I;"):
                    raise PictureFault(
                        path, f"holds 16 or 32 bits a pixel (Pillow's mode {picture.mode}), and "
                        "nothing says which values are black and white",
                        "convert all pictures to 8 bits with one range for all of them")
                picture.load()
                return _upright(picture).convert("RGB")
    except PictureFault:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as fault:
        raise PictureFault(path, f"has more than {Image.MAX_IMAGE_PIXELS:,} pixels",
                           "scale it down or leave it out") from fault
    except Exception as fault:  # a decoder may raise anything on damaged bytes
        raise PictureFault(path, f"cannot be opened as a picture ({_reason(fault)})") from fault


def _upright(picture: Image.Image) -> Image.Image:
    """A loaded picture, turned as EXIF says; as it lies where the EXIF part is damaged."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # its reader may raise anything, and the pixels are sound
        return picture


def _reason(fault: Exception) -> str:
    if isinstance(fault, UnidentifiedImageError):
        return f"it is none of {', '.join(FORMATS)}"
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror
    if isinstance(fault, OSError | SyntaxError | ValueError) and str(fault):
        return " ".join(str(fault).split())
    return "its bytes are damaged"


def _refuse(fault: OSError) -> None:
    """A folder that is there and cannot be read is told; its pictures would be left out."""
    if not isinstance(fault, FileNotFoundError | NotADirectoryError):
        raise ReidlabError(f"cannot read the folder {fault.filename}: {fault.strerror}; give the "
                           "right to read it, or move it away") from fault


def _hidden(name: str) -> bool:
    """Hidden, or what macOS puts beside files in an archive."""
    return name.startswith(".") or name == "__MACOSX"


def _is_picture(name: str) -> bool:
    return not _hidden(name) and name.lower().endswith(ENDINGS)

"""Vectors of picture files, by the model of a run: part by part, or all into one file.

Shapes: B pictures, D width.
"""
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from reidlab.data.folders import resolved
from reidlab.data.pictures import PictureFault, open_picture
from reidlab.engine.precision import fastest_device
from reidlab.errors import ReidlabError
from reidlab.files import usable, write_whole
from reidlab.gallery.rows import Row, rows_of
from reidlab.runs.folder import RunFolder
from reidlab.tasks import TASKS, load

BATCH = 128   # pictures that the model sees at a time
PART = 1024   # pictures after which what was embedded is kept; whole batches


class _Pictures(Dataset):
    """Pictures by number: decoded, or what is wrong with them."""

    def __init__(self, folder: Path, rows: Sequence[Row], size: tuple[int, int]):
        self.folder, self.rows, self.size = folder, rows, size

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, k: int) -> np.ndarray | str:
        try:
            return open_picture(self.folder / self.rows[k].path, self.size)
        except PictureFault as fault:
            return fault.what


class Embedder:
    """Pictures of a folder → vectors, by the model of a run.

    Args:
        run_dir: a trained run, of either task.
        modality: what camera made the pictures; a text-image run knows visible ones alone.

    Raises:
        ReidlabError: no such run, or a modality that it does not know.
    """

    def __init__(self, run_dir: str | Path, modality: str = "visible"):
        self.experiment = RunFolder(run_dir).experiment()
        self.task = TASKS[self.experiment.task]
        refuse_modality(self.experiment, modality)
        self.model = load(run_dir, fastest_device())
        self.modality = modality
        self.size = (self.experiment.image.height, self.experiment.image.width)

    def vectors(self, images: np.ndarray, modality: str | None = None) -> np.ndarray:
        """(B, H, W, 3) uint8 → (B, D) float32."""
        return self.task.vectors(self.experiment, self.model, images, modality or self.modality)

    def parts(self, folder: Path, rows: Sequence[Row]) -> Iterator[tuple[list[Row], np.ndarray]]:
        """Rows with their vectors, `PART` pictures at a time; a broken one has a fault instead."""
        loader = DataLoader(_Pictures(folder, rows, self.size), batch_size=BATCH, collate_fn=list,
                            num_workers=min(8, os.cpu_count() or 1) if len(rows) > BATCH else 0)
        done, kept, start = [], [], 0
        for batch in loader:
            sound = [p for p in batch if not isinstance(p, str)]
            if sound:
                kept.append(self.vectors(np.stack(sound)))
            done += [row._replace(fault=p if isinstance(p, str) else "")
                     for row, p in zip(rows[start:start + len(batch)], batch, strict=True)]
            start += len(batch)
            if len(done) >= PART or start == len(rows):
                yield done, np.concatenate(kept) if kept else np.empty((0, 0), np.float32)
                done, kept = [], []


def refuse_modality(experiment, modality: str) -> None:
    """Stop where a run does not know a modality.

    Raises:
        ReidlabError: which it knows.
    """
    known = TASKS[experiment.task].modalities
    if modality not in known:
        raise ReidlabError(f"a {experiment.task} run knows {' and '.join(known)} pictures; got "
                           f"modality {modality!r:.40}")


def embed_folder(run_dir: str | Path, pictures: str | Path, out: str | Path,
                 modality: str = "visible") -> dict:
    """Vectors of a folder of pictures in one file: ``.npz``, or ``.parquet`` where pyarrow is.

    The file has ``path`` and ``vector``, of text-image runs ``identity`` and ``clothing``.

    Args:
        run_dir: a trained run.
        pictures: a folder; picture files at any depth.
        out: the file.
        modality: ``visible`` or ``infrared``.

    Returns:
        ``file``, ``count``, ``width`` and ``broken``.

    Raises:
        ReidlabError: as `index`, an ending that is neither, or pyarrow missing.
    """
    file, folder = usable(out), resolved(pictures)
    write = {".npz": _npz, ".parquet": _parquet}.get(file.suffix)
    if write is None:
        raise ReidlabError(f"{file} ends in neither .npz nor .parquet; choose one of them")
    if file.suffix == ".parquet":
        _need_pyarrow()
    if file.is_dir():
        raise ReidlabError(f"cannot write {file}: it is a folder; name a file")
    rows, embedder = rows_of(folder), Embedder(run_dir, modality)
    done: list[Row] = [row for row in rows if row.fault]
    found = []
    for part, vectors in embedder.parts(folder, [row for row in rows if not row.fault]):
        done += part
        found.append(vectors)
    paths = [row.path.encode(errors="backslashreplace").decode() for row in done if not row.fault]
    if not paths:
        raise ReidlabError(f"none of the {len(done)} pictures in {folder} can be read, such as "
                           f"{done[0].path}, which {done[0].fault}")
    vectors = np.concatenate([part for part in found if len(part)] or [np.empty((0, 0))])
    parts = embedder.task.parts
    write(file, paths, dict(zip(parts, np.split(vectors, len(parts), axis=1), strict=True)))
    return {"file": str(file), "count": len(paths), "width": vectors.shape[1],
            "broken": {row.path: row.fault for row in done if row.fault}}


def _npz(file: Path, paths: list[str], columns: dict[str, np.ndarray]) -> None:
    everything: dict[str, Any] = {"path": np.array(paths), **columns}
    write_whole(file, lambda out: np.savez(out, **everything))


def _need_pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as fault:
        raise ReidlabError("a .parquet file needs pyarrow; pip install pyarrow, or ask for a .npz"
                           ) from fault
    return pyarrow


def _parquet(file: Path, paths: list[str], columns: dict[str, np.ndarray]) -> None:
    pyarrow = _need_pyarrow()
    table = pyarrow.table({"path": paths} | {
        name: pyarrow.FixedSizeListArray.from_arrays(values.astype(np.float32).ravel(),
                                                     values.shape[1])
        for name, values in columns.items()})
    write_whole(file, lambda out: pyarrow.parquet.write_table(table, out))

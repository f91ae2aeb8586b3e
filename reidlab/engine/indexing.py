"""Embed a folder of pictures once, into a gallery that can be asked and brought up to date.

What was embedded is kept part by part: a killed command goes on, several processes share the work.
"""
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from reidlab.data.folders import resolved
from reidlab.engine.embedding import PART, Embedder
from reidlab.engine.progress import progress_bar
from reidlab.errors import ReidlabError
from reidlab.gallery.folder import LOCAL, GalleryFolder, Manifest
from reidlab.gallery.milvus import connected
from reidlab.gallery.rows import Row, rows_of
from reidlab.gallery.vectors import MOST_EXACT
from reidlab.runs import lock
from reidlab.runs.folder import RunFolder


def index(run_dir: str | Path, pictures: str | Path, out: str | Path, modality: str = "visible",
          store: str = LOCAL, quiet: bool = False) -> dict:
    """Embed a folder of pictures into a gallery, or bring a gallery up to date.

    Only new and changed pictures are embedded; deleted ones are dropped; broken ones are listed
    and tried again once they change. Whatever ends this early, the gallery stays as it was and the
    same command goes on. Processes that ``accelerate launch`` starts share the work.

    Args:
        run_dir: a trained run.
        pictures: a folder; picture files at any depth.
        out: folder of the gallery.
        modality: ``visible`` or ``infrared``.
        store: ``local``, or ``milvus:URI`` for vectors in Milvus.
        quiet: no progress bar.

    Returns:
        ``count``, ``embedded``, ``dropped``, ``broken`` (paths with what is wrong), ``width``,
        ``exact``, ``recall``; of a process beside the first, ``{}``.

    Raises:
        ReidlabError: no run, no pictures, no room; a folder that holds another gallery, or in which
            another process indexes.
    """
    run, folder, gallery = RunFolder(run_dir), resolved(pictures), GalleryFolder(out)
    if store != LOCAL:
        kind, _, uri = store.partition(":")
        if kind != "milvus" or not uri:
            raise ReidlabError(f"unknown store {store!r:.60}; known: local, or milvus:URI as in "
                               "milvus:http://HOST:19530")
        if "://" not in uri:  # a file of Milvus Lite, the same from anywhere
            store = f"milvus:{resolved(uri)}"
        connected(store.removeprefix("milvus:"))  # or it would be told after hours of embedding
    if resolved(gallery.path).is_relative_to(folder):
        raise ReidlabError(f"{gallery.path} lies in {folder}, whose pictures it shall hold; choose "
                           "a folder beside it")
    found, embedder = rows_of(folder), Embedder(run_dir, modality)
    asked = Manifest(run=str(resolved(run.path)), weights=run.weights_digest(),
                     pictures=str(folder), modality=modality, store=store)
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    main, rank, ranks = (accelerator.is_main_process, accelerator.process_index,
                         accelerator.num_processes)
    if main:
        _make(gallery.path)
        lock.take(gallery.lock, "indexing")
    try:
        if main:
            gallery.begin(asked)
        accelerator.wait_for_everyone()
        held = gallery.begin(asked)
        before = gallery.rows(held)
        plan = [found, _unknown(found, _known(gallery, before))]
        found, fresh = broadcast_object_list(plan)  # one list for all, whatever changes meanwhile
        shares = [fresh[k:k + PART] for k in range(0, len(fresh), PART)][rank::ranks]
        mine = [row for share in shares for row in share]
        with progress_bar("embedding", len(mine), off=quiet or not main, unit="picture") as bar:
            for rows, vectors in embedder.parts(folder, mine):
                gallery.keep_part(rows, vectors)
                bar.update(len(rows))
        accelerator.wait_for_everyone()
        if not main:
            return {}
        known = _known(gallery, before)
        final = [row if row.fault else known[row] for row in found]
        present = set(found)
        kept = sum(row._replace(fault="") in present for row in before)
        if final != before or not held.state:
            width = embedder.vectors(np.zeros((1, *embedder.size, 3), np.uint8)).shape[1]
            held = gallery.finish(held, final, width)
        return {**asdict(held), "embedded": len(fresh), "dropped": len(before) - kept,
                "exact": store != LOCAL or held.count <= MOST_EXACT,
                "broken": {row.path: row.fault for row in final if row.fault}}
    finally:
        if main:
            lock.give_back(gallery.lock)


def _known(gallery: GalleryFolder, before: list[Row]) -> dict[Row, Row]:
    """Rows of the present state and of the parts, as each picture is found → as it was kept."""
    kept = [*before, *(row for rows, _ in gallery.kept_parts() for row in rows)]
    return {row._replace(fault=""): row for row in kept}


def _unknown(found: list[Row], known: dict[Row, Row]) -> list[Row]:
    return [row for row in found if row.fault == "" and row not in known]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise ReidlabError(f"cannot make {folder}: {fault.strerror}; choose a folder you may write "
                           "to") from fault

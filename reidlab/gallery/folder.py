"""A gallery on disk: one whole state at a time, and the parts that the next is made of.

    gallery.json       which run, which pictures, where the vectors are, the state that holds
    lock               who indexes here at the moment
    state-0001/        pictures.jsonl (rows by path), vectors.faiss unless Milvus has them
    parts/             what was embedded since: rows and vectors, forgotten once a state holds them

A state is written beside the old one, then `gallery.json` names it: a reader sees one or the other.
"""
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from reidlab.errors import ReidlabError
from reidlab.files import read_json, usable, write_json, write_whole
from reidlab.gallery import rows as rows_
from reidlab.gallery.gallery import Gallery, LocalVectors, Vectors
from reidlab.gallery.milvus import MilvusVectors
from reidlab.gallery.rows import Row
from reidlab.gallery.vectors import Take, VectorIndex

FORMAT = 1
LOCAL = "local"


@dataclass(frozen=True)
class Manifest:
    """What ``gallery.json`` says.

    Attributes:
        run: folder of the run; weights: digest of its checkpoint.
        pictures: folder of the pictures.
        modality: what camera made them, ``visible`` or ``infrared``.
        store: ``local``, or ``milvus:URI``.
        state: number of the state that holds; 0 before the first.
        count, broken: pictures with a vector, and without.
        width: D of the vectors.
        recall: of ten nearest that a search finds; 1.0 where it is exact.
        name: of the gallery's collections in Milvus; no two galleries share one.
    """

    run: str
    weights: str
    pictures: str
    modality: str = "visible"
    store: str = LOCAL
    state: int = 0
    count: int = 0
    broken: int = 0
    width: int = 0
    recall: float = 1.0
    name: str = ""
    format: int = FORMAT


class GalleryFolder:
    """The files of one gallery.

    Args:
        path: its folder; it need not exist yet.
    """

    def __init__(self, path: str | Path):
        self.path = usable(path)
        self.file = self.path / "gallery.json"
        self.parts = self.path / "parts"
        self.lock = self.path / "lock"

    @property
    def exists(self) -> bool:
        """Whether a gallery was begun here."""
        return self.file.is_file()

    def manifest(self) -> Manifest:
        """What the gallery is.

        Raises:
            MissingPath: none here; ReidlabError: a damaged or another version's.
        """
        found = read_json(self.file)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ReidlabError(f"{self.file} is no gallery of this version; delete {self.path} and "
                               "index the pictures again")
        try:
            return Manifest(**found)
        except TypeError as fault:
            raise ReidlabError(f"{self.file} is damaged; delete {self.path} and index the pictures "
                               "again") from fault

    def begin(self, asked: Manifest) -> Manifest:
        """The manifest to go on from, written where there was none.

        Raises:
            ReidlabError: the folder holds another gallery, or something else.
        """
        if self.exists:
            held = self.manifest()
            for name, what in (("run", "made by the run"), ("weights", "made by other weights of "
                               "its run, digest"), ("pictures", "of the pictures in"),
                               ("modality", "of the modality"), ("store", "kept in")):
                if getattr(held, name) != getattr(asked, name):
                    raise ReidlabError(f"{self.path} is a gallery {what} {getattr(held, name)}; "
                                       f"got {getattr(asked, name)}: index into a new folder")
            return held
        if self.path.is_dir() and (others := {p.name for p in self.path.iterdir()} - {"lock"}):
            raise ReidlabError(f"{self.path} holds {min(others)!r:.60} and no gallery; choose a "
                               "new folder")
        asked = replace(asked, name=secrets.token_hex(8))
        write_json(self.file, asdict(asked))
        return asked

    def rows(self, held: Manifest) -> list[Row]:
        """Rows of the state that holds, broken pictures among them, by path."""
        return rows_.read(self._state(held.state) / "pictures.jsonl") if held.state else []

    def open(self) -> tuple[Manifest, Gallery]:
        """The state that holds, ready to be asked.

        Raises:
            MissingPath: no gallery; ReidlabError: damaged, or not indexed to its end yet.
        """
        while True:
            held = self.manifest()
            try:
                return held, self._opened(held)
            except ReidlabError:
                if self.manifest().state == held.state:
                    raise  # else an index has ended meanwhile, and took the old state away

    def _opened(self, held: Manifest) -> Gallery:
        if not held.state:
            raise ReidlabError(f"{self.path} is not indexed to its end yet; repeat reidlab index "
                               f"{held.run} {held.pictures} --out {self.path}")
        sound = [row for row in self.rows(held) if not row.fault]
        return Gallery(sound, self._vectors(held, sound))

    def _vectors(self, held: Manifest, sound: Sequence[Row]) -> Vectors:
        if held.store != LOCAL:
            return self._milvus(held, sound)
        index = VectorIndex.read(self._state(held.state) / "vectors.faiss", held.recall)
        if len(index) != len(sound) or index.width != held.width:
            raise ReidlabError(f"{self.path} is damaged: {len(sound)} pictures and {len(index)} "
                               "vectors; delete it and index the pictures again")
        return LocalVectors(index, sound)

    def _milvus(self, held: Manifest, sound: Sequence[Row], make: bool = False) -> MilvusVectors:
        return MilvusVectors(held.store.removeprefix("milvus:"),
                             f"reidlab_{held.name}_{held.state}", held.width, sound, make)

    def _state(self, number: int) -> Path:
        return self.path / f"state-{number:04d}"

    def keep_part(self, rows: Sequence[Row], vectors: np.ndarray) -> None:
        """Keep what was just embedded; the rows, written last, say that the part is whole.

        Args:
            rows: of a share of the pictures, broken ones among them.
            vectors: (n, D) of the sound ones.
        """
        name = self.parts / hashlib.sha1(rows_.written(rows)).hexdigest()[:20]
        half = vectors.astype(np.float16)
        write_whole(name.with_suffix(".npy"), lambda out: np.save(out, half))
        write_whole(name.with_suffix(".jsonl"), lambda out: out.write(rows_.written(rows)))

    def kept_parts(self) -> Iterator[tuple[list[Row], Path]]:
        """Rows and the file of (n, D) vectors of the whole parts; damaged ones are passed over."""
        for file in sorted(self.parts.glob("[0-9a-f]*.jsonl")):
            vectors = file.with_suffix(".npy")
            try:
                found, count = rows_.read(file), len(np.load(vectors))
            except (ReidlabError, FileNotFoundError, ValueError, EOFError):
                continue
            if count == sum(not row.fault for row in found):
                yield found, vectors

    def finish(self, held: Manifest, rows: Sequence[Row], width: int) -> Manifest:
        """Make the next state from the one that holds and the parts.

        Args:
            held: the present manifest.
            rows: of all pictures that the gallery shall have, by path; each with a vector is in
                the present state or in a part.
            width: D.
        """
        sound = [row for row in rows if not row.fault]
        before = self.rows(held)
        following = replace(held, state=held.state + 1, count=len(sound), width=width,
                            broken=len(rows) - len(sound))
        place = self._state(following.state)
        shutil.rmtree(place, ignore_errors=True)  # of a finish that was killed
        sources, old = _Sources(self.kept_parts()), [row for row in before if not row.fault]
        held_vectors = self._vectors(held, old) if held.state else None
        if held_vectors is not None:
            sources.add(old, held_vectors.vectors)

        def take(numbers: np.ndarray) -> np.ndarray:
            return sources.take([sound[n] for n in numbers])

        if held.store != LOCAL:
            self._milvus(following, sound, make=True).put(sound, take)
        else:
            index = VectorIndex.build(take, len(sound), width)
            index.write(place / "vectors.faiss")
            following = replace(following, recall=index.recall)
        write_whole(place / "pictures.jsonl", lambda out: out.write(rows_.written(rows)))
        write_json(self.file, asdict(following))
        shutil.rmtree(self.parts, ignore_errors=True)
        if isinstance(held_vectors, MilvusVectors):
            held_vectors.forget()
        for old_state in self.path.glob("state-*"):
            if old_state != place:
                shutil.rmtree(old_state, ignore_errors=True)
        return following


def _taken(read: Callable[[Path], np.ndarray], file: Path, numbers: np.ndarray) -> np.ndarray:
    return read(file)[numbers].astype(np.float32)


class _Sources:
    """Where the vector of each row is: in a part, or in the state before."""

    def __init__(self, parts: Iterator[tuple[list[Row], Path]]):
        self.where: dict[Row, tuple[int, int]] = {}
        self._take: list[Take] = []
        read = lru_cache(maxsize=64)(np.load)  # a part is a megabyte; open files are few
        for rows, file in parts:
            self.add([row for row in rows if not row.fault], partial(_taken, read, file))

    def add(self, rows: Sequence[Row], take: Take) -> None:
        source = len(self._take)
        self._take.append(take)
        for number, row in enumerate(rows):
            self.where.setdefault(row, (source, number))

    def take(self, rows: Sequence[Row]) -> np.ndarray:
        """(n, D) float32 of rows."""
        places = np.array([self.where[row] for row in rows], np.int64).reshape(-1, 2)
        out: np.ndarray | None = None
        for source in np.unique(places[:, 0]):
            chosen = np.flatnonzero(places[:, 0] == source)
            found = self._take[source](places[chosen, 1])
            out = np.empty((len(rows), found.shape[1]), np.float32) if out is None else out
            out[chosen] = found
        return np.empty((0, 0), np.float32) if out is None else out


def is_gallery(path: str | Path) -> bool:
    """Whether a folder is a gallery, and no run."""
    return os.path.isfile(Path(path) / "gallery.json")

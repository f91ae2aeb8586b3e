"""Describe somebody, or show a photo: pictures of a run, a folder or a gallery are ranked."""
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reidlab.config import TextImageExperiment
from reidlab.config.text_image import Scoring
from reidlab.data.caption_parser import parse_caption
from reidlab.data.loading import load_split
from reidlab.data.packing import pack
from reidlab.data.pictures import PictureFault, open_picture, picture_fault
from reidlab.data.records import Split
from reidlab.engine.embedding import Embedder, refuse_modality
from reidlab.errors import ReidlabError
from reidlab.evaluation.attribution import SIDES, Attribution, attribute
from reidlab.evaluation.embeddings import embed, embed_texts
from reidlab.evaluation.text_image import query_outfit_mask
from reidlab.gallery.folder import GalleryFolder, is_gallery
from reidlab.gallery.gallery import Found, Gallery, LocalVectors
from reidlab.gallery.rows import ALL, Only, Row, rows_of
from reidlab.gallery.vectors import VectorIndex
from reidlab.runs.folder import RunFolder
from reidlab.tasks import load_data

PHOTO_GIVES = {"identity": ("identity",), "clothing": ("clothing",),
               "both": ("identity", "clothing")}
FEW = 10  # hits, where nobody says how many
Photo = str | Path | np.ndarray | None
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hit:
    """One ranked picture.

    Attributes:
        score: id + cloth, the number that ranks.
        id_score, cloth_score: its two parts; cloth is weighted.
        path: file, or ``person/outfit/shot`` of a synthetic picture.
        pid: person where the gallery knows it, else −1.
        image: (H, W, 3) uint8 as the model saw it.
    """

    score: float
    id_score: float
    cloth_score: float
    path: str
    pid: int
    image: np.ndarray

    def to_dict(self) -> dict:
        """Plain data without the picture."""
        return {"score": self.score, "id_score": self.id_score, "cloth_score": self.cloth_score,
                "path": self.path, "pid": self.pid}


class Searcher:
    """A gallery that was embedded once and can be asked many times.

    Args:
        place: a trained run, or a gallery that `index` made.
        pictures: of a run, a folder of pictures to be embedded now; None takes its test people.

    Attributes:
        gallery: what is searched; paths: of its pictures; cloth_weight: λ of the run.
        size: (height, width) in which the model sees pictures.

    Raises:
        ReidlabError: a gallery without pictures, or made by other weights than the run has now.
    """

    def __init__(self, place: str | Path, pictures: str | Path | None = None):
        self._images: np.ndarray | None = None
        self._pids: Sequence[int] | None = None
        self._folder: Path | None = None
        if is_gallery(place):
            if pictures is not None:
                raise ReidlabError(f"{place} is a gallery, which has its pictures; leave "
                                   f"{pictures} out, or name a run")
            held, self.gallery = GalleryFolder(place).open()
            self._embedder, self._folder = Embedder(held.run, held.modality), Path(held.pictures)
            if (now := RunFolder(held.run).weights_digest()) != held.weights:
                raise ReidlabError(f"{place} was made by other weights than {held.run} has now "
                                   f"({held.weights} then, {now} now); index the pictures into a "
                                   "new folder")
        else:
            self._embedder = Embedder(place)
            self.gallery = self._embedded_now(pictures)
        self.model, self.experiment = self._embedder.model, self._embedder.experiment
        self.reads_words = self.experiment.task == TextImageExperiment.task
        self.cloth_weight = self.experiment.scoring.cloth_weight if self.reads_words else 0.0
        self.paths = [row.path for row in self.gallery.rows]
        self.size = self._embedder.size

    def _embedded_now(self, pictures: str | Path | None) -> Gallery:
        """A gallery in memory, at full precision."""
        experiment, size = self._embedder.experiment, self._embedder.size
        if pictures is None:
            split = (load_split(experiment.data, size, "test")
                     if experiment.task == TextImageExperiment.task
                     else load_data(experiment).test.visible)
            self._images, self._pids = split.images, split.pids.tolist()
            rows = [Row(record.path, 0, 0, 0, record.camid) for record in split.records]
        else:
            folder = Path(pictures)
            rows = [row._replace(path=str(folder / row.path)) for row in rows_of(folder)]
            self._images = pack([Path(row.path) for row in rows], size)
        vectors = np.concatenate([self._embedder.vectors(self._images[k:k + 256])
                                  for k in range(0, len(rows), 256)])
        return Gallery(rows, LocalVectors(VectorIndex.of(vectors), rows))

    def picture(self, number: int) -> np.ndarray:
        """(H, W, 3) uint8 of a picture of the gallery; grey where its file cannot be read now."""
        if self._images is not None:
            return np.asarray(self._images[number])
        file = Path(self._folder or "") / self.gallery.rows[number].path
        try:
            return open_picture(file, self._embedder.size)
        except PictureFault as fault:
            log.warning("%s; index the pictures again", fault)
            return np.full((*self._embedder.size, 3), 128, np.uint8)

    def find(self, text: str = "", k: int | None = None, cloth_weight: float | None = None,
             photo: Photo = None, by: str | None = None, only: Only = ALL,
             modality: str | None = None) -> list[Hit]:
        """The `k` pictures that fit best; see `search`. A photo may be a picture, too:
        (H, W, 3) uint8 in the size that the model sees."""
        weight = self.cloth_weight if cloth_weight is None else cloth_weight
        refuse_weight(weight)
        identity, clothing = self._asked(text, photo, by, modality)
        query = np.concatenate([identity, weight * clothing])
        count = min(FEW, len(self.gallery)) if k is None else k
        if (only.since, only.until) != (None, None) and self._pids is not None:
            raise ReidlabError("nothing says when the run's own test people were seen; leave since "
                               "and until out, or search a folder or a gallery")
        found = self.gallery.search(query, count, only)
        if not found:
            raise ReidlabError("no picture of the gallery is of these cameras and times; widen "
                               "camera, since and until")
        return [self._hit(each, query, len(identity)) for each in found]

    def _hit(self, found: Found, query: np.ndarray, width: int) -> Hit:
        return Hit(found.score, float(found.vector[:width] @ query[:width]),
                   float(found.vector[width:] @ query[width:]), found.row.path,
                   self._pids[found.number] if self._pids is not None else -1,
                   self.picture(found.number))

    def _asked(self, text: str, photo: Photo, by: str | None, modality: str | None
               ) -> tuple[np.ndarray, np.ndarray]:
        """Identity and clothing vector of a query; zeros where it says nothing of that side."""
        if not self.reads_words:
            return self._asked_by_picture(text, photo, by, modality), np.empty(0, np.float32)
        refuse_modality(self.experiment, modality or "visible")
        said = halves(text) if text.strip() or photo is None else ("", "")
        identity, clothing = (embed_texts(self.model, [words], heads)[0] for words, heads in zip(
            said, (self.model.id_heads, self.model.cloth_heads), strict=True))
        if photo is None:
            return identity, clothing
        of_photo = np.split(self._of_photo(photo, "visible"), 2)
        gives = PHOTO_GIVES[by or ("identity" if text.strip() else "both")]
        return (of_photo[0] if "identity" in gives else identity,
                of_photo[1] if "clothing" in gives else clothing)

    def _asked_by_picture(self, text: str, photo: Photo, by: str | None,
                          modality: str | None) -> np.ndarray:
        """The vector of a photo, by default one of the other modality than the gallery's."""
        if text.strip() or photo is None or by not in (None, "identity"):
            raise ReidlabError("a visible-infrared run knows one vector a picture and reads no "
                               "descriptions; ask by --photo alone, or search a text-image run")
        other = {"visible": "infrared", "infrared": "visible"}[self._embedder.modality]
        refuse_modality(self.experiment, modality or other)
        return self._of_photo(photo, modality or other)

    def _of_photo(self, photo: Photo, modality: str) -> np.ndarray:
        pixels = (photo if isinstance(photo, np.ndarray) else
                  open_picture(Path(photo or ""), self._embedder.size))
        return self._embedder.vectors(pixels[None], modality)[0]

    def explain(self, hit: Hit, text: str) -> dict[str, Attribution]:
        """Which word and which patch the two parts of a hit's score come from; λ is not in it."""
        said = dict(zip(SIDES, halves(text), strict=True))
        mirror = self.experiment.scoring.mirror
        return {side: attribute(self.model, hit.image, words, side, mirror)
                for side, words in said.items() if words}


def halves(text: str) -> tuple[str, str]:
    """What a description says of the person, and of the clothes.

    Raises:
        ReidlabError: it is empty, or says nothing of either.
    """
    if not text.strip():
        raise ReidlabError("the description is empty; say something of the person or the clothes, "
                           "or name a photo")
    identity, clothing = parse_caption(text)
    if not (identity or clothing):
        raise ReidlabError(f"nothing in {text!r:.80} is known to describe a person or clothes; try "
                           "words such as 'a tall man with red hair, wearing a blue coat'")
    return identity, clothing


def refuse_unread(said: tuple[str, str], by: str | None) -> None:
    """Stop where a photo gives all that words say.

    Args:
        said: of the person, and of the clothes.
        by: what a photo gives; None without one.

    Raises:
        ReidlabError: words that would not be read.
    """
    left = {"identity": said[1], "clothing": said[0], "both": "", None: "all"}[by]
    if not left:
        raise ReidlabError(f"the photo gives {by}, so nothing of the description would be read; "
                           "leave the words out, or let the photo give the other half")


def refuse_weight(weight: float) -> None:
    """Raise a ReidlabError at a weight of the clothing score below 0, or that is no number."""
    if not 0 <= weight < float("inf"):
        raise ReidlabError(f"the weight of clothing is {weight}; it must be 0 (any clothes) or "
                           "above")


def search(place: str | Path, text: str = "", k: int | None = None,
           gallery: str | Path | None = None, cloth_weight: float | None = None,
           photo: str | Path | None = None, by: str | None = None, only: Only = ALL,
           modality: str | None = None) -> list[Hit]:
    """The `k` pictures that fit a description best, or a photo, or both.

    A description is split into what it says of the person and of the clothes; each half is
    compared with its own vector, and a half that says nothing counts nothing. A photo takes the
    place of one half or of both: *this person, wearing a red coat* is a photo and words.

    Args:
        place: a trained run, or a gallery that `index` made.
        text: one English description; empty where a photo alone asks.
        k: number of hits; None takes ten, or as many as there are.
        gallery: of a run, a folder of pictures; None takes the run's test people.
        cloth_weight: λ; None takes the run's. 0 asks for the person in any clothes.
        photo: a picture file.
        by: what the photo gives, ``identity``, ``clothing`` or ``both``; None takes both without
            words and identity with them. Words give the rest.
        only: cameras and times that may be found.
        modality: of the photo, of visible-infrared runs; None takes the other than the gallery's.

    Raises:
        ReidlabError: neither words nor photo, a gallery without pictures, λ below 0, more hits
            than pictures, or words for a run that reads none.
    """
    if k is not None and k < 1:
        raise ReidlabError(f"k must be at least 1; got {k}")
    if cloth_weight is not None:
        refuse_weight(cloth_weight)
    if by is not None and photo is None:
        raise ReidlabError(f"by={by} says what a photo gives; name a photo, or leave it out")
    if by is not None and by not in PHOTO_GIVES:
        raise ReidlabError(f"by is {by!r:.60}; known: {', '.join(PHOTO_GIVES)}")
    if photo is None or text.strip():  # what says nothing is told before anything is loaded
        refuse_unread(halves(text), by or "identity" if photo is not None else None)
    if photo is not None and (fault := picture_fault(Path(photo))):
        raise fault
    return Searcher(place, gallery).find(text, k, cloth_weight, photo, by, only, modality)


def rows_of_people(split: Split, people: int = 4, pictures: int = 12) -> list[list[np.ndarray]]:
    """The first pictures of the first people, one list a person."""
    pids = split.pids
    chosen = list(dict.fromkeys(pids.tolist()))[:people]
    return [[split.images[k] for k in np.flatnonzero(pids == pid)[:pictures]] for pid in chosen]


def ranked_examples(model, split: Split, scoring: Scoring, count: int = 5, hits: int = 8
                    ) -> list[dict]:
    """Evenly spaced captions of a split with their best hits among people in the described clothes,
    as `scoring` of the run ranks them.

    Returns:
        ``[{"text": caption, "hits": [(picture, score, is the right person), …]}, …]``.
    """
    keep = np.flatnonzero(query_outfit_mask(split.records))
    found = embed(model, split, pictures=keep, mirror=scoring.mirror)
    queries = np.linspace(0, len(found.picture) - 1, count).astype(int)
    similarity = (found.id_text[queries] @ found.id_image.T
                  + scoring.cloth_weight * found.cloth_text[queries] @ found.cloth_image.T)
    examples = []
    for q, row in zip(queries, similarity, strict=True):
        record = found.records[found.picture[q]]
        best = np.argsort(-row, kind="stable")[:hits]
        examples.append({
            "text": record.captions[found.caption[q]],
            "hits": [(split.images[keep[k]], float(row[k]), found.records[k].pid == record.pid)
                     for k in best]})
    return examples

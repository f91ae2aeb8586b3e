"""Describe somebody, get pictures ranked: on a run's own gallery or on any folder."""
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reidlab.config import TextImageExperiment
from reidlab.config.text_image import Scoring
from reidlab.data.caption_parser import parse_caption
from reidlab.data.loading import load_split
from reidlab.data.packing import pack
from reidlab.data.pictures import open_picture, picture_fault, pictures_in
from reidlab.data.records import Split
from reidlab.engine.precision import fastest_device
from reidlab.errors import ReidlabError
from reidlab.evaluation.attribution import SIDES, Attribution, attribute
from reidlab.evaluation.embeddings import embed, embed_images, embed_texts
from reidlab.evaluation.text_image import query_outfit_mask
from reidlab.runs.folder import RunFolder
from reidlab.tasks import load

PHOTO_GIVES = {"identity": ("identity",), "clothing": ("clothing",),
               "both": ("identity", "clothing")}


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
        run_dir: a trained run.
        gallery: a folder of pictures; None takes the run's test people.

    Raises:
        ReidlabError: a gallery without pictures, or a run without text.
    """

    def __init__(self, run_dir: str | Path, gallery: str | Path | None = None):
        experiment = RunFolder(run_dir).experiment()
        if experiment.task != TextImageExperiment.task:
            raise ReidlabError(f"{run_dir} is a {experiment.task} run, which reads no "
                               "descriptions; search a run of corrected or another text-image "
                               "design")
        self.model = load(run_dir, fastest_device())
        self.cloth_weight = experiment.scoring.cloth_weight
        self.size = size = (experiment.image.height, experiment.image.width)
        if gallery is None:
            split = load_split(experiment.data, size, "test")
            self.images, self.paths = split.images, [r.path for r in split.records]
            self.pids = split.pids.tolist()
        else:
            files = pictures_in(Path(gallery))
            self.images, self.paths = pack(files, size), [str(f) for f in files]
            self.pids = [-1] * len(files)
        self.mirror = experiment.scoring.mirror
        self._identity, self._cloth, _ = embed_images(
            self.model, self.images, range(len(self.paths)), mirror=self.mirror)

    def find(self, text: str = "", k: int = 10, cloth_weight: float | None = None,
             photo: str | Path | None = None, by: str | None = None) -> list[Hit]:
        """The `k` pictures that fit best; see `search`."""
        identity, clothing = self._asked(text, photo, by)
        weight = self.cloth_weight if cloth_weight is None else cloth_weight
        by_id = self._identity @ identity
        by_cloth = weight * (self._cloth @ clothing)
        order = np.argsort(-(by_id + by_cloth), kind="stable")[:k]
        return [Hit(float(by_id[n] + by_cloth[n]), float(by_id[n]), float(by_cloth[n]),
                    self.paths[n], int(self.pids[n]), np.asarray(self.images[n])) for n in order]

    def _asked(self, text: str, photo: str | Path | None, by: str | None
               ) -> tuple[np.ndarray, np.ndarray]:
        """Identity and clothing vector of a query; zeros where it says nothing of that side."""
        said = halves(text) if text.strip() or photo is None else ("", "")
        identity, clothing = (embed_texts(self.model, [words], heads)[0] for words, heads in zip(
            said, (self.model.id_heads, self.model.cloth_heads), strict=True))
        if photo is None:
            return identity, clothing
        seen = open_picture(Path(photo), self.size)[None]
        of_photo = embed_images(self.model, seen, [0], mirror=self.mirror)
        gives = PHOTO_GIVES[by or ("identity" if text.strip() else "both")]
        return (of_photo[0][0] if "identity" in gives else identity,
                of_photo[1][0] if "clothing" in gives else clothing)

    def explain(self, hit: Hit, text: str) -> dict[str, Attribution]:
        """Which word and which patch the two parts of a hit's score come from; λ is not in it."""
        said = dict(zip(SIDES, halves(text), strict=True))
        return {side: attribute(self.model, hit.image, words, side, self.mirror)
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


def search(run_dir: str | Path, text: str = "", k: int = 10, gallery: str | Path | None = None,
           cloth_weight: float | None = None, photo: str | Path | None = None,
           by: str | None = None) -> list[Hit]:
    """The `k` pictures that fit a description best, or a photo, or both.

    A description is split into what it says of the person and of the clothes; each half is
    compared with its own vector, and a half that says nothing counts nothing. A photo takes the
    place of one half or of both: *this person, wearing a red coat* is a photo and words.

    Args:
        run_dir: a trained run.
        text: one English description; empty where a photo alone asks.
        k: number of hits.
        gallery: a folder of pictures; None takes the run's test people.
        cloth_weight: λ; None takes the run's. 0 asks for the person in any clothes.
        photo: a picture file.
        by: what the photo gives, ``identity``, ``clothing`` or ``both``; None takes both without
            words and identity with them. Words give the rest.

    Raises:
        ReidlabError: neither words nor photo, a gallery without pictures, or a run without text.
    """
    if k < 1:
        raise ReidlabError(f"k must be at least 1; got {k}")
    if by is not None and photo is None:
        raise ReidlabError(f"by={by} says what a photo gives; name a photo, or leave it out")
    if by is not None and by not in PHOTO_GIVES:
        raise ReidlabError(f"by is {by!r:.60}; known: {', '.join(PHOTO_GIVES)}")
    if photo is None or text.strip():
        halves(text)  # a description of nothing is told before anything is loaded
    if photo is not None and (fault := picture_fault(Path(photo))):
        raise fault
    return Searcher(run_dir, gallery).find(text, k, cloth_weight, photo, by)


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

"""Describe somebody, get pictures ranked: on a run's own gallery or on any folder."""
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reidlab.config import Experiment
from reidlab.data.loading import load as load_data
from reidlab.data.packing import pack
from reidlab.data.splitting import split_caption
from reidlab.data.text_image import pictures_in
from reidlab.errors import ReidlabError
from reidlab.evaluation.embeddings import embed_images, embed_texts
from reidlab.models.building import load
from reidlab.runs.folder import RunFolder


@dataclass(frozen=True)
class Hit:
    """One ranked picture.

    Attributes:
        score: id + cloth, the number that ranks.
        id_score, cloth_score: its two parts; cloth is weighted.
        path: file, or ``person/outfit/shot`` of a drawn picture.
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


def search(run_dir: str | Path, text: str, k: int = 10, gallery: str | Path | None = None,
           cloth_weight: float | None = None) -> list[Hit]:
    """The `k` pictures that fit a description best.

    The description is split into what it says of the person and of the clothes; each half is
    compared with its own vector, and a half that says nothing counts nothing.

    Args:
        run_dir: a trained run.
        text: one English description.
        k: number of hits.
        gallery: a folder of pictures; None takes the run's test people.
        cloth_weight: λ; None takes the run's. 0 asks for the person in any clothes.

    Raises:
        ReidlabError: an empty description, a gallery without pictures, or a run without text.
    """
    if not text.strip():
        raise ReidlabError("the description is empty; say something of the person or the clothes")
    if k < 1:
        raise ReidlabError(f"k must be at least 1; got {k}")
    experiment = RunFolder(run_dir).experiment()
    if experiment.task != Experiment.task:
        raise ReidlabError(f"{run_dir} is a {experiment.task} run, which reads no descriptions; "
                           "search a run of corrected or another text-image design")
    model = load(run_dir)
    size = (experiment.image.height, experiment.image.width)
    if gallery is None:
        split = load_data(experiment.data, size).test
        images, paths = split.images, [r.path for r in split.records]
        pids = split.pids.tolist()
    else:
        files = pictures_in(Path(gallery))
        images, paths, pids = pack(files, size), [str(f) for f in files], [-1] * len(files)
    identity, clothing = split_caption(text)
    if not (identity or clothing):
        raise ReidlabError(f"nothing in {text!r} is known to describe a person or clothes; try "
                           "words such as 'a tall man with red hair, wearing a blue coat'")
    weight = experiment.scoring.cloth_weight if cloth_weight is None else cloth_weight
    id_image, cloth_image, _ = embed_images(model, images, range(len(paths)))
    by_id = id_image @ embed_texts(model, [identity], model.id_heads)[0]
    by_cloth = weight * (cloth_image @ embed_texts(model, [clothing], model.cloth_heads)[0])
    order = np.argsort(-(by_id + by_cloth), kind="stable")[:k]
    return [Hit(float(by_id[n] + by_cloth[n]), float(by_id[n]), float(by_cloth[n]), paths[n],
                int(pids[n]), np.asarray(images[n])) for n in order]

"""The synthetic world: who is in a picture, what they wear, and how the picture was taken.

Identity, clothing and scene are drawn independently from a seed, so that which factor a
feature reads is known instead of assumed. Nothing here depends on the order of calls, the
batch size or the machine: ``(seed, person, outfit, shot)`` fixes every pixel and every word.
"""
from bisect import bisect
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate

import numpy as np

from reidlab.synthetic import captions, render
from reidlab.synthetic.factors import (
    BEARDS,
    COLOURS,
    GIRTH,
    HAIR_OF,
    HAIR_STYLES,
    OUTFIT,
    PERSON,
    SCENE,
    STATURE,
    STRIDE,
    VIEWS,
)

PARTS = render.PARTS
_PERSON, _OUTFIT, _SCENE, _WORDS = range(4)  # one random stream each, so none disturbs another


def _pick(rng: np.random.Generator, values: tuple, p: tuple | None):
    """One of `values`; bisection, since `Generator.choice` costs ten times as much."""
    if p is None:
        return values[int(rng.random() * len(values))]
    return values[bisect(_steps(p), rng.random(), hi=len(p) - 1)]


@lru_cache
def _steps(p: tuple) -> list[float]:
    return list(accumulate(share / sum(p) for share in p))


@dataclass
class Drawing:
    """One picture of the synthetic world with everything that is true about it.

    Attributes:
        image: (H, W, 3) uint8, visible light.
        infrared: (H, W, 3) uint8, three equal channels, same pose and place.
        parts: (H, W) uint8, index into ``PARTS``.
        id_caption, cloth_caption: what one onlooker says of the person and of the outfit.
        factors: flat dict such as ``{"person/sex": "man", "scene/camera": 3}``.
        facts: the part of `factors` that the two captions state, by caption:
            ``{"id": {...}, "cloth": {...}}``; what a perfect reader could use.
    """

    image: np.ndarray
    infrared: np.ndarray
    parts: np.ndarray
    id_caption: str
    cloth_caption: str
    factors: dict
    facts: dict = field(default_factory=dict)


@dataclass(frozen=True)
class World:
    """Every person, outfit and picture that one seed describes.

    An outfit is known by its number alone, so two people can wear the same one (a lure).

    Args:
        seed: non-negative integer; another seed is another population.
        size: (height, width) of the pictures in pixels, height twice the width looks natural.
    """

    seed: int = 0
    size: tuple[int, int] = (224, 112)

    def __post_init__(self):
        if self.seed < 0 or len(self.size) != 2 or min(self.size) < 16:
            raise ValueError(
                f"need seed >= 0 and size (height, width) of at least 16 pixels; "
                f"got seed {self.seed}, size {self.size}"
            )

    def person(self, person: int) -> dict:
        """Identity factors of one person, constant over all their pictures."""
        return dict(_person(self.seed, _natural("person", person)))

    def outfit(self, outfit: int) -> dict:
        """Clothing factors of one outfit, independent of who wears it."""
        return dict(_outfit(self.seed, _natural("outfit", outfit)))

    def scene(self, person: int, outfit: int, shot: int) -> dict:
        """Where, from which side and in which pose this shot was taken."""
        rng = np.random.default_rng([self.seed, _SCENE, person, outfit, _natural("shot", shot)])
        scene = {name: _pick(rng, *choice) for name, choice in SCENE.items()}
        yaw = rng.random() * 360
        return scene | {
            "yaw": yaw,                                   # degrees; 0 faces the camera
            "view": VIEWS[int((yaw + 22.5) // 45) % 8],
            "walking": bool(rng.random() < 0.7),
            "phase": rng.random(),                        # of one step cycle
            "zoom": 0.94 + 0.12 * rng.random(),
            "shift": 0.10 * (rng.random() - 0.5),         # of the picture's width
            "occluder_side": float(rng.random()),
            "grain": int(rng.integers(1 << 31)),          # seeds background and sensor noise
        }

    def factors(self, person: int, outfit: int, shot: int) -> dict:
        """All factors of one picture, flat: ``{"person/sex": "man", "scene/camera": 3, …}``."""
        return _flat(self._parts(person, outfit, shot))

    def draw(self, person: int, outfit: int, shot: int) -> Drawing:
        """The picture of `person` in `outfit`, the `shot`-th time it was taken."""
        return self._drawn(self._parts(person, outfit, shot), self._words(person, outfit, shot))

    def _parts(self, person: int, outfit: int, shot: int) -> dict[str, dict]:
        return {"person": self.person(person), "outfit": self.outfit(outfit),
                "scene": self.scene(person, outfit, shot)}

    def _drawn(self, parts: dict[str, dict], words: np.random.Generator) -> Drawing:
        image, infrared, labels = render.render(*parts.values(), size=self.size)
        said = captions.describe(parts["person"], parts["outfit"], parts["scene"], words)
        return Drawing(image, infrared, labels, said.id_caption, said.cloth_caption, _flat(parts),
                       {"id": said.id_facts, "cloth": said.cloth_facts})

    def draw_changed(self, person: int, outfit: int, shot: int, changes: dict) -> Drawing:
        """The same picture with some factors changed by hand.

        Args:
            person, outfit, shot: the picture to start from.
            changes: such as ``{"person/hair_colour": "red", "scene/yaw": 90.0}``.

        Raises:
            ValueError: an unknown factor.
        """
        parts = self._parts(person, outfit, shot)
        for name, value in changes.items():
            kind, _, factor = name.partition("/")
            if kind not in parts or factor not in parts[kind]:
                raise ValueError(f"unknown factor {name!r}; known are the keys of factors, such "
                                 "as person/hair_colour")
            parts[kind][factor] = value
        who, scene = parts["person"], parts["scene"]
        before = self.person(person)
        who["stature"] += STATURE[who["height"]] - STATURE[before["height"]]
        who["girth"] += GIRTH[who["build"]] - GIRTH[before["build"]]
        who["stride"] = STRIDE[who["gait"]]
        scene["view"] = VIEWS[int((scene["yaw"] + 22.5) // 45) % 8]
        return self._drawn(parts, self._words(person, outfit, shot))

    def picture(self, person: int, outfit: int, shot: int) -> np.ndarray:
        """(H, W, 3) uint8: the visible picture alone, without captions; what training reads."""
        return render.render(self.person(person), self.outfit(outfit),
                             self.scene(person, outfit, shot), size=self.size)[0]

    def infrared_picture(self, person: int, outfit: int, shot: int) -> np.ndarray:
        """(H, W, 3) uint8: the infrared picture alone; its three channels are equal."""
        return render.render(self.person(person), self.outfit(outfit),
                             self.scene(person, outfit, shot), size=self.size)[1]

    def describe(self, person: int, outfit: int, shot: int) -> captions.Description:
        """The captions of one picture, without drawing it."""
        return captions.describe(self.person(person), self.outfit(outfit),
                                 self.scene(person, outfit, shot),
                                 self._words(person, outfit, shot))

    def _words(self, person: int, outfit: int, shot: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, _WORDS, person, outfit, shot])


def _flat(parts: dict[str, dict]) -> dict:
    return {f"{kind}/{name}": value for kind, group in parts.items()
            for name, value in group.items()}


def _natural(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise ValueError(f"{name} must be an integer of at least 0; got {value!r}")
    return int(value)


@lru_cache(maxsize=65536)
def _person(seed: int, person: int) -> tuple:
    rng = np.random.default_rng([seed, _PERSON, person])
    who = {name: _pick(rng, *choice) for name, choice in PERSON.items()}
    who["hair_style"] = _pick(rng, HAIR_STYLES, HAIR_OF[who["sex"]])
    who["beard"] = _pick(rng, BEARDS, (0.55, 0.15, 0.3) if who["sex"] == "man" else (1, 0, 0))
    who["stature"] = STATURE[who["height"]] + 0.04 * (rng.random() - 0.5)
    who["girth"] = GIRTH[who["build"]] + 0.10 * (rng.random() - 0.5)
    who["leg_share"] = 0.47 + 0.05 * rng.random()           # of the stature
    who["shoulder"] = (1.06 if who["sex"] == "man" else 0.92) + 0.08 * (rng.random() - 0.5)
    who["stride"] = STRIDE[who["gait"]]
    return tuple(who.items())


@lru_cache(maxsize=65536)
def _outfit(seed: int, outfit: int) -> tuple:
    rng = np.random.default_rng([seed, _OUTFIT, outfit])
    worn = {name: _pick(rng, *choice) for name, choice in OUTFIT.items()}
    others = tuple(c for c in COLOURS if c != worn["upper_colour"])
    worn["accent_colour"] = _pick(rng, others, None)  # of the pattern, or of the shirt beneath
    for piece in ("upper", "lower", "shoes", "bag", "hat"):
        worn[f"{piece}_infrared"] = 0.25 + 0.5 * rng.random()  # fabric, not dye, decides
    return tuple(worn.items())

"""Where a shot is taken: background, occluders, and what the camera does to the picture."""
from functools import lru_cache

import cv2
import numpy as np

from reidlab.synthetic.canvas import Canvas, disc, material, smooth
from reidlab.synthetic.factors import COLOURS

GROUND = {"street": (112, 112, 118), "park": (122, 146, 96), "shops": (168, 160, 152),
          "square": (186, 172, 148), "station": (148, 152, 164)}
WALL = {"street": (150, 158, 172), "park": (168, 200, 224), "shops": (186, 152, 130),
        "square": (196, 190, 182), "station": (120, 130, 146)}
CAMERA_TINT = np.array([  # red, green, blue, infrared gain of cameras 1…6
    [1.00, 1.00, 1.00, 1.00], [1.06, 1.00, 0.92, 1.10], [0.93, 0.99, 1.08, 0.92],
    [1.03, 0.97, 1.02, 1.04], [0.97, 1.04, 0.97, 0.88], [0.90, 0.90, 0.94, 1.15]], np.float32)
SENSOR_NOISE = np.array([2.4, 2.4, 2.4, 5.0])[:, None, None]  # grey levels
LIGHT_GAIN = {"dim": 0.74, "normal": 1.0, "bright": 1.16}


def background(scene: dict, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """(4, H, W) uint8: walls, windows, trees, cars and passers-by, out of focus."""
    height, width = size
    place = scene["background"]
    horizon = int(height * (0.40 + 0.14 * rng.random()))
    view: np.ndarray = np.empty((height, width, 3), np.uint8)
    view[:horizon], view[horizon:] = WALL[place], GROUND[place]
    names = list(COLOURS)

    def box(x0, y0, x1, y1, colour):
        cv2.rectangle(view, (int(x0 * width), int(y0 * height)),
                      (int(x1 * width), int(y1 * height)), colour, -1)

    def muted(low=70, high=190):
        return tuple(int(c) for c in rng.integers(low, high, 3))

    if place == "park":
        for _ in range(5):
            x, y, r = rng.random() * width, (rng.random() * 0.4) * height, height * 0.13
            green = (int(30 + 60 * rng.random()), int(90 + 70 * rng.random()), 50)
            cv2.circle(view, (int(x), int(y)), int(r * (0.7 + 0.6 * rng.random())), green, -1)
            box(x / width - 0.02, y / height, x / width + 0.02, horizon / height, (92, 70, 50))
    else:
        edge = 0.0
        while edge < 1:  # a row of house fronts
            step, top = 0.2 + 0.3 * rng.random(), 0.12 * rng.random()
            front = muted(90, 200)
            box(edge, top, edge + step, horizon / height, front)
            glass = tuple(int(c * 0.55) for c in front) if place != "station" else (210, 226, 236)
            for row in range(3):
                for column in range(2):
                    x, y = edge + step * (0.15 + 0.45 * column), top + 0.05 + 0.13 * row
                    if y + 0.07 < horizon / height:
                        box(x, y, x + step * 0.26, y + 0.07, glass)
            edge += step
        if place == "shops":
            box(0, horizon / height - 0.12, 1, horizon / height - 0.07, muted(60, 230))
    for _ in range(int(rng.integers(0, 3))):  # parked cars or people far away
        x = rng.random()
        tint = COLOURS[names[int(rng.integers(len(names)))]]
        if rng.random() < 0.5 and place in ("street", "shops"):
            box(x - 0.2, horizon / height - 0.05, x + 0.25, horizon / height + 0.03, tint)
            box(x - 0.1, horizon / height - 0.09, x + 0.13, horizon / height - 0.05, (60, 70, 84))
        else:
            box(x, horizon / height - 0.1, x + 0.07, horizon / height, tint)
            box(x + 0.01, horizon / height, x + 0.06, horizon / height + 0.09, (50, 52, 60))
            cv2.circle(view, (int((x + 0.035) * width), int(horizon - 0.115 * height)),
                       max(1, int(0.028 * width)), (206, 166, 136), -1)
    if place == "street":
        box(rng.random() - 0.3, 0.86, rng.random() + 0.3, 0.875, (214, 212, 204))
    if place in ("square", "shops"):
        tile = tuple(int(c * 0.9) for c in GROUND[place])
        for k in range(1, 5):
            box(0, horizon / height + 0.13 * k, 1, horizon / height + 0.13 * k + 0.004, tile)
    blur = max(3, height // 36 | 1)
    view = cv2.GaussianBlur(view, (blur, blur), 0)
    scenery = np.empty((4, height, width), np.uint8)
    scenery[:3] = view.transpose(2, 0, 1)
    leaves = 0.22 if place == "park" else 0.16  # leaves are bright in infrared
    scenery[3] = 30 + leaves * scenery[1]
    return scenery


def occlude(canvas: Canvas, scene: dict, rng: np.random.Generator) -> None:
    """Put a bin, a bush or a pole between the camera and the person."""
    height, width = canvas.labels.shape
    x = width * (0.15 + 0.7 * scene["occluder_side"])
    match scene["occluder"]:
        case "pole":
            post = np.array([[x, 0], [x + 0.06 * width, 0], [x + 0.06 * width, height],
                             [x, height]], np.float64)
            canvas.paint(post, material((96, 98, 104), 0.2), 0, shadow=0.2)
        case "bin":
            top, half = height * (0.74 + 0.06 * rng.random()), 0.26 * width
            body = np.array([[x - half, top], [x + half, top], [x + 0.85 * half, height + 4],
                             [x - 0.85 * half, height + 4]])
            canvas.paint(body, material((54, 92, 66), 0.16), 0, roundness=0.8, shadow=0.3)
            lid = np.array([[x - 1.08 * half, top - 0.025 * height],
                            [x + 1.08 * half, top - 0.025 * height],
                            [x + 1.08 * half, top + 0.012 * height],
                            [x - 1.08 * half, top + 0.012 * height]])
            canvas.paint(lid, material((40, 70, 50), 0.2), 0, roundness=0.3)
        case "bush":
            for _ in range(7):
                leaf = disc(x + 0.30 * width * (rng.random() - 0.5) * 2,
                            height * (0.86 + 0.14 * rng.random()),
                            0.11 * width * (0.8 + 0.5 * rng.random()), corners=14)
                green = (34 + 40 * rng.random(), 92 + 52 * rng.random(), 40)
                canvas.paint(leaf, material(green, 0.34), 0)


def ground_shadow(canvas: Canvas, x: float, y: float, reach: float) -> None:
    """The soft dark patch that puts feet on the ground."""
    canvas.veil(smooth(disc(x, y, reach, reach * 0.16)), 0.42)


@lru_cache(maxsize=8)
def grain(size: tuple[int, int]) -> np.ndarray:
    """(2H, 2W) float32 around 1: cloth weave and soft folds; shots take different corners of it."""
    rng = np.random.default_rng(20240)
    height, width = 2 * size[0], 2 * size[1]
    fine = rng.standard_normal((height, width)).astype(np.float32)
    folds = cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0),
                             sigmaX=size[0] / 60, sigmaY=size[0] / 26)
    return 1 + 0.014 * fine + 0.045 * folds / folds.std()


@lru_cache(maxsize=8)
def _sensor_noise(size: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(77)
    return (rng.standard_normal((4, 2 * size[0], 2 * size[1])) * SENSOR_NOISE).astype(np.float32)


@lru_cache(maxsize=8)
def _lamp(size: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[-1:1:size[0] * 1j, -1:1:size[1] * 1j].astype(np.float32)
    return 1.12 - 0.34 * (x * x + 0.7 * y * y)


def expose(canvas: Canvas, scene: dict, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Camera tint, light and sensor noise → visible and infrared picture, (H, W, 3) uint8 each."""
    height, width = size = canvas.labels.shape
    gain = CAMERA_TINT[scene["camera"] - 1] * ([LIGHT_GAIN[scene["light"]]] * 3 + [1])
    top, left = int(rng.integers(height)), int(rng.integers(width))
    light = canvas.pixels * gain.astype(np.float32)[:, None, None]
    light += _sensor_noise(size)[:, top:top + height, left:left + width]
    light[3] *= _lamp(size)
    light = np.clip(light, 0, 255, out=light).astype(np.uint8)
    return cv2.merge(light[:3]), cv2.merge([light[3]] * 3)

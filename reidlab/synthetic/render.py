"""From known factors to a picture: the order in which a scene is painted, back to front."""
import cv2
import numpy as np

from reidlab.synthetic import scenery
from reidlab.synthetic.canvas import Canvas
from reidlab.synthetic.figure import Body, Head
from reidlab.synthetic.wardrobe import Wardrobe

PARTS = ("background", "skin", "hair", "upper", "lower", "shoes", "bag", "hat")
SMALLEST = 96  # rows painted at least; smaller pictures are painted larger and shrunk


def render(person: dict, outfit: dict, scene: dict, *, size: tuple[int, int]
           ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Paint one person.

    Args:
        person, outfit, scene: factor dicts of `World`.
        size: (height, width) in pixels.

    Returns:
        ``(image, infrared, parts)``: (H, W, 3) uint8 twice and (H, W) uint8 labels into ``PARTS``.
    """
    grow = max(1, -(-SMALLEST // size[0]))
    painted = (size[0] * grow, size[1] * grow)
    rng = np.random.default_rng(scene["grain"])
    view = scenery.background(scene, painted, rng)
    cloth = scenery.grain(painted)
    top, left = int(rng.integers(painted[0])), int(rng.integers(painted[1]))
    canvas = Canvas(view, light=1.0 if rng.random() < 0.5 else -1.0,
                    grain=cloth[top:top + painted[0], left:left + painted[1]])
    body = Body(person, scene, painted)
    head, wardrobe = Head(body), Wardrobe(outfit, body)
    far, near = body.near_first()

    scenery.ground_shadow(canvas, body.x, body.ground, 0.13 * body.unit * body.girth)
    if body.faces_camera:
        head.paint_hair_behind(canvas)
    wardrobe.paint_bag(canvas, behind=True)
    wardrobe.paint_arm(canvas, far)
    wardrobe.paint_leg(canvas, far)
    wardrobe.paint_leg(canvas, near)
    wardrobe.paint_seat(canvas)
    head.paint_neck(canvas)
    wardrobe.paint_upper(canvas)
    if not body.faces_camera:
        wardrobe.paint_bag(canvas, behind=False)
    head.paint(canvas)
    if not body.faces_camera:
        head.paint_hair_behind(canvas)
    wardrobe.paint_hat(canvas, head)
    wardrobe.paint_arm(canvas, near)
    if body.faces_camera:
        wardrobe.paint_bag(canvas, behind=False)
    scenery.occlude(canvas, scene, rng)

    image, infrared = scenery.expose(canvas, scene, rng)
    labels = canvas.labels
    if grow > 1:
        shape = (size[1], size[0])
        image = cv2.resize(image, shape, interpolation=cv2.INTER_AREA)
        infrared = cv2.resize(infrared, shape, interpolation=cv2.INTER_AREA)
        labels = cv2.resize(labels, shape, interpolation=cv2.INTER_NEAREST)
    return image, infrared, labels

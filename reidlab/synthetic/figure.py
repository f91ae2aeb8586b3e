"""The body: pose, limbs, head, hair and face of one synthetic person.

Lengths are shares of the stature; `Body.at` turns (sideways, forwards, upwards) into pixels.
Yaw 0 faces the camera, 90° looks to the right of the picture.
"""
import math

import numpy as np

from reidlab.synthetic.canvas import Canvas, limb, material, oval, smooth
from reidlab.synthetic.factors import HAIRS, SKINS

SKIN, HAIR = 1, 2  # indices into render.PARTS
CURLS = [2 * math.pi * k / 11 for k in range(11)]
SPREAD = np.linspace(-1, 1, 15)
INK = material((28, 24, 26), 0.12)


class Body:
    """Joints of one person in one pose, in pixels.

    Args:
        person, scene: factor dicts of `World.person` and `World.scene`.
        size: (height, width) of the canvas.
    """

    def __init__(self, person: dict, scene: dict, size: tuple[int, int]):
        height, width = size
        self.person = person
        self.unit = 0.86 * height * person["stature"] * scene["zoom"]  # pixels per stature
        self.x = width * (0.5 + scene["shift"])
        self.ground = height * (0.955 + 0.02 * scene["shift"])
        yaw = math.radians(scene["yaw"])
        self.yaw = (yaw + np.pi) % (2 * np.pi) - np.pi
        self.cos, self.sin = math.cos(yaw), math.sin(yaw)
        self.crotch = person["leg_share"]
        self.girth = person["girth"]
        self.skin = material(SKINS[person["skin"]], 0.80)
        self.hair = material(HAIRS[person["hair_colour"]], 0.40)
        self._step(person, scene)

    def _step(self, person: dict, scene: dict) -> None:
        """Place the joints: legs swing about the hips, arms against them."""
        swing = 0.40 * person["stride"] if scene["walking"] else 0.05
        turn = 2 * np.pi * scene["phase"]
        thigh = self.crotch * 0.52
        shin = self.crotch - thigh - 0.035
        legs, self.arms = {}, {}
        for side in (-1, 1):  # the person's right, left
            beat = math.sin(turn) * side
            hip = np.array([side * 0.047 * self.girth ** 0.6, 0.0, self.crotch + 0.01])
            angle = swing * beat
            bend = 0.10 + (0.55 * swing * (1 - beat) if scene["walking"] else 0)
            knee = hip + thigh * np.array([0, math.sin(angle), -math.cos(angle)])
            low = angle - bend * 0.8
            ankle = knee + shin * np.array([0, math.sin(low), -math.cos(low)])
            legs[side] = [hip, knee, ankle]
            shoulder = np.array([side * 0.104 * person["shoulder"] * self.girth ** 0.35, 0, 0.782])
            reach = -0.9 * swing * beat
            elbow = shoulder + 0.158 * np.array([side * 0.16, math.sin(reach), -math.cos(reach)])
            fold = reach + 0.22 + 0.5 * swing
            hand = elbow + 0.150 * np.array([side * 0.02, math.sin(fold), -math.cos(fold)])
            self.arms[side] = [shoulder, elbow, hand]
        sink = min(joints[2][2] for joints in legs.values()) - 0.035
        self.legs = {side: [joint - (0, 0, sink) for joint in joints]
                     for side, joints in legs.items()}
        self.sink = sink
        self.arms = {side: [joint - (0, 0, sink) for joint in joints]
                     for side, joints in self.arms.items()}

    def at(self, sideways: float, forwards: float, upwards: float) -> np.ndarray:
        """(2,) pixel of a point given in shares of the stature."""
        return np.array([self.x + self.unit * (sideways * self.cos + forwards * self.sin),
                         self.ground - self.unit * upwards])

    def point(self, joint: np.ndarray) -> np.ndarray:
        return self.at(*joint)

    def near_first(self) -> tuple[int, int]:
        """(far side, near side): which arm and leg the camera sees in front."""
        return (1, -1) if self.sin > 0 else (-1, 1)

    @property
    def faces_camera(self) -> bool:
        return self.cos > 0

    def trunk(self, levels: list[tuple[float, float, float]], lift: float = 0.0) -> np.ndarray:
        """Outline through elliptical cross-sections.

        Args:
            levels: (upwards, half width, half depth) from bottom to top.
            lift: belly; shifts the middle forwards.
        """
        up, a, b = np.array(levels).T
        belly = lift * np.sin(np.pi * np.arange(len(up)) / (len(up) - 1))
        x = self.x + self.unit * belly * self.sin
        half = self.unit * np.sqrt((a * self.cos) ** 2 + (b * self.sin) ** 2)
        y = self.ground - self.unit * (up - self.sink)
        return smooth(np.concatenate([np.stack([x - half, y], 1),
                                      np.stack([x + half, y], 1)[::-1]]))


class Head:
    """Paints neck, face, hair and eyewear; the face turns with the body."""

    def __init__(self, body: Body):
        self.body = body
        self.rx, self.ry = 0.057 * body.unit, 0.073 * body.unit
        self.centre = body.at(0, 0.012, 0.925 - body.sink)

    def on_face(self, azimuth: float, down: float) -> tuple[np.ndarray, float]:
        """Pixel of a spot on the head and how squarely the camera sees it (≤ 0: hidden)."""
        turn = self.body.yaw + azimuth
        bulge = math.sqrt(max(0.0, 1 - down * down * 0.8))
        return self.centre + (self.rx * bulge * math.sin(turn), self.ry * down), math.cos(turn)

    def band(self, reach: float, top: float, bottom: float, out: float = 1.0) -> np.ndarray | None:
        """Outline of the part of the head within `reach` radians of the nose."""
        turn = self.body.yaw + reach * SPREAD
        turn = turn[np.cos(turn) > -0.05]
        if len(turn) < 3:
            return None
        x = self.rx * out * np.sin(turn)
        lower = np.minimum(bottom * self.ry, self.ry * out
                           * np.sqrt(np.maximum(0, 1 - (x / (self.rx * out * 1.04)) ** 2)))
        edge = np.stack([x, lower], 1)
        upper = np.stack([x[::-1], np.full(len(x), top * self.ry)], 1)
        return np.concatenate([edge, upper]) + self.centre

    def paint_neck(self, canvas: Canvas) -> None:
        body = self.body
        top, low = body.at(0, 0.005, 0.88 - body.sink), body.at(0, 0, 0.81 - body.sink)
        canvas.paint(limb(low, top, 0.040 * body.unit, 0.034 * body.unit), body.skin * 0.92, SKIN)

    def paint_hair_behind(self, canvas: Canvas) -> None:
        """Hair that hangs down the back: behind the trunk seen from the front, before it else."""
        body, style = self.body, self.body.person["hair_style"]
        back = np.array([-0.4 * body.sin * self.rx, 0])
        if style == "long":
            top = self.centre + back
            hang = np.array([[-1.12, -0.2], [-1.22, 1.2], [-1.15, 2.5], [-0.5, 2.75], [0.5, 2.75],
                             [1.15, 2.5], [1.22, 1.2], [1.12, -0.2]])
            narrow = 0.62 + 0.38 * abs(body.cos)
            canvas.paint(smooth(hang * (self.rx * narrow, self.ry) + top), body.hair, HAIR,
                         shadow=0.15)
        elif style == "ponytail":
            root = self.centre + (-1.02 * body.sin * self.rx, -0.25 * self.ry)
            tip = root + (-0.45 * body.sin * self.rx, 2.1 * self.ry)
            canvas.paint(limb(root, tip, 0.40 * self.rx, 0.24 * self.rx), body.hair, HAIR,
                         shadow=0.15)

    def paint(self, canvas: Canvas) -> None:
        """Skull, hair, face, eyewear and beard; hats belong to the wardrobe."""
        body, style = self.body, self.body.person["hair_style"]
        skull = oval(self.centre, self.rx, self.ry)
        if style == "bald":
            canvas.paint(skull, body.skin, SKIN, shadow=0.2)
        else:
            self._paint_hair(canvas, style)
            fringe = -0.42 if style in ("short", "ponytail", "bun") else -0.34
            face = self.band(1.22, fringe, 1.0)
            if face is not None:
                canvas.paint(smooth(face, 1), body.skin, SKIN)
        if style in ("bald", "short", "ponytail", "bun"):
            for ear in (-1, 1):
                spot, seen = self.on_face(ear * 1.5, 0.08)
                if seen > -0.2:
                    canvas.dab(oval(spot, 0.16 * self.rx, 0.2 * self.ry, 10), body.skin * 0.84,
                               SKIN)
        nose, seen = self.on_face(0, 0.12)
        if seen > -0.15:
            tip = nose + (0.16 * self.rx * body.sin, 0)
            canvas.dab(oval(tip, 0.13 * self.rx, 0.16 * self.ry, 10), body.skin * 0.87, SKIN)
        self._paint_features(canvas)

    def _paint_hair(self, canvas: Canvas, style: str) -> None:
        body = self.body
        grow = {"short": 1.08, "curly": 1.32, "bob": 1.18, "long": 1.12, "ponytail": 1.07,
                "bun": 1.07}[style]
        shift = np.array([-0.10 * body.sin * self.rx, -0.06 * self.ry])
        if style == "curly":
            curls = [oval(self.centre + shift + (0.98 * self.rx * math.cos(t),
                                                  0.86 * self.ry * math.sin(t) - 0.25 * self.ry),
                          0.42 * self.rx, 0.36 * self.ry, 10) for t in CURLS]
            canvas.paint([*curls, oval(self.centre + shift, 1.05 * self.rx, self.ry)],
                         body.hair, HAIR, shadow=0.2)
            return
        shapes = [oval(self.centre + shift, grow * self.rx, grow * self.ry)]
        if style == "bob":
            cut = np.array([[-1.18, -0.2], [-1.28, 1.12], [1.28, 1.12], [1.18, -0.2]])
            shapes.append(smooth(cut * (self.rx, self.ry) + self.centre + shift, 1))
        if style == "bun":
            shapes.append(oval(self.centre + (-0.85 * body.sin * self.rx, -1.12 * self.ry),
                               0.44 * self.rx, 0.38 * self.ry, 12))
        if style in ("short", "ponytail", "bun"):  # the nape stays bare
            canvas.paint(oval(self.centre + (0, 0.15 * self.ry), 0.94 * self.rx,
                              0.86 * self.ry), body.skin * 0.92, SKIN, shadow=0.2)
            keep = shapes[0]
            shapes[0] = keep[keep[:, 1] < self.centre[1] + 0.42 * self.ry]
        canvas.paint(shapes, body.hair, HAIR, shadow=0.15)

    def _paint_features(self, canvas: Canvas) -> None:
        body, who = self.body, self.body.person
        if who["beard"] == "beard":
            chin = self.band(1.15, 0.36, 1.08, out=1.03)
            if chin is not None:
                canvas.paint(chin, body.hair * 0.95, HAIR)
        elif who["beard"] == "moustache":
            lip, seen = self.on_face(0, 0.40)
            if seen > 0:
                canvas.dab(oval(lip, (0.18 + 0.34 * seen) * self.rx, 0.12 * self.ry, 10),
                           body.hair * 0.95, HAIR)
        mouth, seen = self.on_face(0, 0.60)
        if seen > 0.1:
            red = material((150, 66, 62), 0.5)
            canvas.dab(oval(mouth, 0.26 * seen * self.rx, 0.055 * self.ry, 8), red, SKIN)
        for eye in (-0.42, 0.42):
            spot, seen = self.on_face(eye, -0.08)
            if seen < 0.05:
                continue
            brow = spot - (0, 0.17 * self.ry)
            canvas.dab(oval(brow, 0.20 * self.rx * seen, 0.035 * self.ry, 8),
                         body.hair * 0.8, SKIN)
            if who["glasses"] == "none":
                canvas.dab(oval(spot, 0.11 * self.rx * seen, 0.07 * self.ry, 8), INK, SKIN)
                continue
            rim = oval(spot, (0.08 + 0.27 * seen) * self.rx, 0.20 * self.ry, 12)
            canvas.dab(rim, INK, SKIN)
            if who["glasses"] == "glasses":
                lens = material((216, 228, 236), 0.7)
                canvas.dab(oval(spot, 0.24 * seen * self.rx, 0.125 * self.ry, 10), lens, SKIN)
                canvas.dab(oval(spot, 0.09 * self.rx * seen, 0.06 * self.ry, 8), INK, SKIN)
        if who["glasses"] != "none":  # bridge and temples
            for side in (-1, 1):
                hinge, seen = self.on_face(side * 0.75, -0.08)
                ear, _ = self.on_face(side * 1.5, -0.06)
                if seen > 0:
                    canvas.dab(limb(hinge, ear, 0.04 * self.ry, 0.04 * self.ry), INK, SKIN)

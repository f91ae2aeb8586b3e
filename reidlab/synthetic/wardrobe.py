"""The outfit: garments, shoes, bags and hats, fitted to a body in a pose."""
import math

import numpy as np

from reidlab.synthetic.canvas import Canvas, Texture, disc, limb, material, oval, smooth
from reidlab.synthetic.factors import COLOURS
from reidlab.synthetic.figure import SKIN, Body, Head

UPPER, LOWER, SHOES, BAG, HAT = 3, 4, 5, 6, 7  # indices into render.PARTS
LOOSE = {"t-shirt": 1.02, "shirt": 1.04, "sweater": 1.10, "hoodie": 1.14, "jacket": 1.15,
         "coat": 1.14}
SLEEVE = {"t-shirt": 0.046, "shirt": 0.039, "sweater": 0.045, "hoodie": 0.049, "jacket": 0.049,
          "coat": 0.048}  # radius at the shoulder, shares of the stature


_DOME = np.stack([np.cos(np.linspace(np.pi, 2 * np.pi, 13)),
                  np.sin(np.linspace(np.pi, 2 * np.pi, 13))], 1)


class Wardrobe:
    """Paints one outfit piece by piece; `render` decides the order.

    Args:
        outfit: factor dict of `World.outfit`.
        body: the posed person who wears it.
    """

    def __init__(self, outfit: dict, body: Body):
        self.outfit, self.body = outfit, body
        self.paints = {piece: material(COLOURS[outfit[f"{piece}_colour"]],
                                       outfit[f"{piece}_infrared"])
                       for piece in ("upper", "lower", "shoes", "bag", "hat")}
        accent = COLOURS[outfit["accent_colour"]]
        self.accent = material(accent, outfit["upper_infrared"] * 0.82 + 0.08)
        self.texture = pattern(outfit["upper_pattern"], body)

    # legs -----------------------------------------------------------------------------------
    def paint_leg(self, canvas: Canvas, side: int) -> None:
        """Skin, trouser leg and shoe of one leg."""
        body, kind = self.body, self.outfit["lower_type"]
        hip, knee, ankle = (body.point(joint) for joint in body.legs[side])
        u, fat = body.unit, body.girth ** 0.75
        far = 0.86 if side == body.near_first()[0] and abs(body.sin) > 0.35 else 1.0
        self._paint_shoe(canvas, side, far)
        if kind in ("shorts", "skirt"):
            canvas.paint([limb(hip, knee, 0.058 * u * fat, 0.038 * u * fat),
                          limb(knee, ankle, 0.036 * u * fat, 0.022 * u * fat)],
                         body.skin * far, SKIN)
            if self.outfit["shoes_type"] == "boots":
                self._paint_boot_shaft(canvas, side, far)
        paint = self.paints["lower"] * far
        if kind == "shorts":
            hem = knee + 0.10 * (ankle - knee)
            canvas.paint(limb(hip, hem, 0.066 * u * fat, 0.056 * u * fat), paint, LOWER)
        elif kind in ("jeans", "trousers"):
            wide = 0.032 if kind == "jeans" else 0.040
            canvas.paint([limb(hip, knee, 0.062 * u * fat, 0.045 * u * fat),
                          limb(knee, ankle - (0, 0.006 * u), 0.045 * u * fat, wide * u * fat)],
                         paint, LOWER, shadow=0.12)
            if kind == "jeans":  # worn knees and a turned-up hem
                canvas.dab(oval(knee, 0.026 * u, 0.045 * u, 12), _lighter(paint, 0.12), LOWER)
                canvas.dab(limb(ankle - (0.03 * u, 0.008 * u), ankle + (0.03 * u, -0.008 * u),
                                  0.010 * u, 0.010 * u), _lighter(paint, 0.22), LOWER)
            else:
                crease = limb(hip + (0, 0.08 * u), ankle, 0.004 * u, 0.004 * u)
                canvas.dab(crease, paint * 0.72, LOWER)

    def _paint_shoe(self, canvas: Canvas, side: int, far: float) -> None:
        body, u = self.body, self.body.unit
        ankle = body.legs[side][2]
        heel = body.at(ankle[0], ankle[1] - 0.022, max(0.012, ankle[2] - 0.026))
        toe = body.at(ankle[0] * 1.15, ankle[1] + 0.085, max(0.010, ankle[2] - 0.028))
        toe[1] += 0.016 * u * max(0.0, body.cos)
        paint, kind = self.paints["shoes"] * far, self.outfit["shoes_type"]
        if kind == "sneakers":
            sole = material((236, 236, 232), 0.6) * far
            canvas.dab(limb(heel + (0, 0.012 * u), toe + (0, 0.012 * u), 0.024 * u, 0.020 * u),
                       sole, SHOES)
        canvas.paint(limb(heel, toe, 0.030 * u, 0.020 * u), paint, SHOES)
        if kind == "boots":
            self._paint_boot_shaft(canvas, side, far)
        if kind == "sneakers":
            lace = (heel + 2 * toe) / 3 - (0, 0.012 * u)
            canvas.dab(oval(lace, 0.012 * u, 0.006 * u, 8), material((240, 240, 240), 0.6), SHOES)

    def _paint_boot_shaft(self, canvas: Canvas, side: int, far: float) -> None:
        _, knee, ankle = (self.body.point(joint) for joint in self.body.legs[side])
        u = self.body.unit
        canvas.paint(limb(ankle + 0.45 * (knee - ankle), ankle + (0, 0.012 * u), 0.040 * u,
                          0.034 * u), self.paints["shoes"] * far, SHOES)

    def paint_seat(self, canvas: Canvas) -> None:
        """What joins the legs: seat of the trousers, or the skirt."""
        body, c, g = self.body, self.body.crotch, self.body.girth
        levels = [(c - 0.035, 0.070 * g, 0.066 * g), (c + 0.04, 0.092 * g, 0.076 * g),
                  (c + 0.13, 0.082 * g, 0.066 * g)]
        if self.outfit["lower_type"] == "skirt":
            levels = [(c * 0.52, 0.128 * g, 0.112 * g), (c * 0.75, 0.116 * g, 0.098 * g),
                      (c + 0.03, 0.098 * g, 0.080 * g), (c + 0.13, 0.080 * g, 0.064 * g)]
        canvas.paint(body.trunk(levels, 0.01 * g), self.paints["lower"], LOWER, shadow=0.1)
        if self.outfit["lower_type"] == "skirt":
            for fold in (-0.6, -0.15, 0.35):
                top = body.at(fold * 0.07, 0.02, c + 0.03 - body.sink)
                hem = body.at(fold * 0.11, 0.02, c * 0.54 - body.sink)
                canvas.dab(limb(top, hem, 0.002 * body.unit, 0.006 * body.unit),
                             self.paints["lower"] * 0.78, LOWER)

    # trunk and arms -------------------------------------------------------------------------
    def paint_upper(self, canvas: Canvas) -> None:
        """The garment on the trunk with its collar, opening, hem or hood."""
        body, kind = self.body, self.outfit["upper_type"]
        c, loose = body.crotch, LOOSE[kind]
        g, wide = body.girth * loose, body.person["shoulder"] * loose
        slim = 0.90 if body.person["sex"] == "woman" else 1.0
        hem = {"coat": [(c * 0.56, 0.118 * g, 0.104 * g), (c * 0.85, 0.108 * g, 0.094 * g)],
               "jacket": [(c - 0.005, 0.096 * g, 0.080 * g)],
               "hoodie": [(c - 0.005, 0.094 * g, 0.080 * g)]}.get(
                   kind, [(c + 0.015, 0.092 * g, 0.078 * g)])
        levels = [*hem, (c + 0.06, 0.090 * g, 0.076 * g), (c + 0.15, 0.082 * g * slim, 0.072 * g),
                  (0.735, 0.102 * g ** 0.6 * wide, 0.074 * g),
                  (0.795, 0.120 * wide * g ** 0.3, 0.060 * g),
                  (0.832, 0.088 * wide, 0.048), (0.854, 0.036, 0.034)]
        belly = 0.030 * max(0.0, body.girth - 0.95)
        canvas.paint(body.trunk(levels, belly), self.paints["upper"], UPPER, accent=self.accent,
                     texture=self.texture, shadow=0.16)
        self._paint_collar(canvas, kind)
        if body.faces_camera:
            self._paint_front(canvas, kind, hem[0][0])
        if kind in ("sweater", "hoodie"):
            half = math.hypot(0.088 * g * body.cos, 0.076 * g * body.sin)
            left, right = (body.at(0, 0, hem[0][0] + 0.008 - body.sink) + (s * half * body.unit, 0)
                           for s in (-1, 1))
            canvas.dab(limb(left, right, 0.010 * body.unit, 0.010 * body.unit),
                         self.paints["upper"] * 0.8, UPPER)

    def _front(self, sideways: float, up: float) -> np.ndarray:
        """A pixel on the front of the trunk, carried round by the yaw."""
        body = self.body
        return body.at(sideways, 0.062 * body.girth * math.sqrt(max(0, 1 - (sideways / 0.11) ** 2)),
                       up - body.sink)

    def _paint_collar(self, canvas: Canvas, kind: str) -> None:
        body, u = self.body, self.body.unit
        neck = body.at(0, 0.012, 0.842 - body.sink)
        paint = self.paints["upper"]
        if kind == "hoodie":
            hood = body.at(0, -0.03, 0.838 - body.sink)
            canvas.paint(oval(hood, 0.066 * u, 0.030 * u, 14), paint * 0.86, UPPER, shadow=0.1)
        elif kind in ("shirt", "jacket", "coat"):
            canvas.dab(oval(neck, 0.048 * u, 0.020 * u, 12), _lighter(paint, 0.06), UPPER)
        if body.faces_camera and kind in ("t-shirt", "sweater", "shirt"):
            depth = {"t-shirt": 0.030, "sweater": 0.018, "shirt": 0.036}[kind]
            v = np.array([self._front(-0.030, 0.852), self._front(0.030, 0.852),
                          self._front(0.0, 0.846 - depth)])
            canvas.dab(smooth(v, 1), body.skin * 0.95, SKIN)

    def _paint_front(self, canvas: Canvas, kind: str, hem: float) -> None:
        """Zips, buttons, the shirt under an open jacket, prints: only where the front shows."""
        u = self.body.unit
        dark = self.paints["upper"] * 0.62
        if kind in ("jacket", "coat"):
            open_ = np.array([self._front(-0.026, 0.838), self._front(0.026, 0.838),
                              self._front(0.022, hem + 0.05), self._front(-0.022, hem + 0.05)])
            canvas.dab(open_, self.accent, UPPER)
            for side in (-1, 1):
                canvas.dab(limb(self._front(side * 0.026, 0.838),
                                  self._front(side * 0.023, hem + 0.02), 0.006 * u, 0.004 * u),
                             dark, UPPER)
        elif kind == "shirt":
            canvas.dab(limb(self._front(0, 0.81), self._front(0, hem + 0.01), 0.002 * u,
                              0.002 * u), dark, UPPER)
            for up in np.linspace(hem + 0.04, 0.79, 6):
                canvas.dab(oval(self._front(0.004, up), 0.004 * u, corners=6),
                             material((236, 232, 220), 0.5), UPPER)
        elif kind == "hoodie":
            pocket = np.array([self._front(-0.045, hem + 0.11), self._front(0.045, hem + 0.11),
                               self._front(0.060, hem + 0.03), self._front(-0.060, hem + 0.03)])
            canvas.dab(pocket, self.paints["upper"] * 0.84, UPPER)
            for side in (-1, 1):
                canvas.dab(limb(self._front(side * 0.016, 0.825), self._front(side * 0.018, 0.76),
                                  0.003 * u, 0.003 * u), material((240, 240, 236), 0.6), UPPER)
        if self.outfit["upper_pattern"] == "print":
            canvas.dab(oval(self._front(0, 0.715), (0.012 + 0.034 * self.body.cos) * u,
                              0.044 * u, 16), self.accent, UPPER)

    def paint_arm(self, canvas: Canvas, side: int) -> None:
        """Bare arm and hand, then the sleeve."""
        body, u = self.body, self.body.unit
        shoulder, elbow, hand = (body.point(joint) for joint in body.arms[side])
        fat = body.girth ** 0.6
        far = 0.84 if side == body.near_first()[0] and abs(body.sin) > 0.35 else 1.0
        kind = self.outfit["upper_type"]
        skin, paint = body.skin * far, self.paints["upper"] * far
        tip = hand + 0.12 * (hand - elbow)
        canvas.dab(limb(hand, tip, 0.022 * u, 0.018 * u), skin * 0.95, SKIN)
        wide = SLEEVE[kind] * u * fat
        if kind == "t-shirt":
            canvas.paint([limb(shoulder, elbow, 0.034 * u * fat, 0.027 * u * fat),
                          limb(elbow, hand, 0.027 * u * fat, 0.020 * u * fat)], skin, SKIN)
            sleeve = [limb(shoulder, shoulder + 0.62 * (elbow - shoulder), wide, wide * 0.92)]
        else:
            sleeve = [limb(shoulder, elbow, wide, 0.82 * wide),
                      limb(elbow, hand, 0.82 * wide, 0.66 * wide)]
        canvas.paint(sleeve, paint, UPPER, accent=self.accent * far, texture=self.texture,
                     shadow=0.2)

    # what is carried and worn on top --------------------------------------------------------
    def paint_bag(self, canvas: Canvas, *, behind: bool) -> None:
        """Bag and straps. `behind`: the pass before the trunk is painted."""
        body, u, kind = self.body, self.body.unit, self.outfit["bag_type"]
        paint = self.paints["bag"]
        if kind == "backpack":
            on_back = body.at(0, -0.095 * body.girth ** 0.5, 0.70 - body.sink)
            half = math.hypot(0.085 * body.cos, 0.050 * body.sin) * u
            if behind == body.faces_camera:
                sack = smooth(np.array([[-1, -1], [1, -1], [1.08, 1], [-1.08, 1]])
                              * (half, 0.115 * u) + on_back, 2)
                canvas.paint(sack, paint, BAG, shadow=0.25)
                if not body.faces_camera:
                    pocket = smooth(np.array([[-0.7, 0.1], [0.7, 0.1], [0.7, 0.8], [-0.7, 0.8]])
                                    * (half, 0.115 * u) + on_back, 1)
                    canvas.dab(pocket, paint * 0.82, BAG)
            elif not behind:
                for side in (-1, 1):
                    canvas.dab(limb(self._front(side * 0.062, 0.83),
                                      self._front(side * 0.066, 0.66), 0.009 * u, 0.008 * u),
                                 paint * 0.85, BAG)
        elif kind == "shoulder bag" and not behind:
            low = body.at(0.105 * body.girth, 0.01, 0.50 - body.sink)
            high = body.at(-0.06, 0.03 if body.faces_camera else -0.03, 0.84 - body.sink)
            canvas.dab(limb(high, low, 0.006 * u, 0.006 * u), paint * 0.8, BAG)
            if body.sin < 0.6:  # else the trunk hides the bag on the far hip
                self._paint_pouch(canvas, low + (0, 0.035 * u), 0.062 * u, 0.048 * u)
        elif kind == "handbag" and behind == (body.near_first()[0] == 1):
            hand = body.point(body.arms[1][2])
            for side in (-1, 1):
                canvas.dab(limb(hand + (0, 0.01 * u), hand + (side * 0.032 * u, 0.055 * u),
                                  0.004 * u, 0.004 * u), paint * 0.7, BAG)
            self._paint_pouch(canvas, hand + (0, 0.098 * u), 0.062 * u, 0.046 * u)

    def _paint_pouch(self, canvas: Canvas, centre: np.ndarray, rx: float, ry: float) -> None:
        body = np.array([[-0.82, -1], [0.82, -1], [1, 1], [-1, 1]]) * (rx, ry) + centre
        canvas.paint(smooth(body, 1), self.paints["bag"], BAG, shadow=0.22)
        flap = np.array([[-0.8, -1], [0.8, -1], [0.86, -0.15], [-0.86, -0.15]]) * (rx, ry) + centre
        canvas.dab(flap, self.paints["bag"] * 0.84, BAG)

    def paint_hat(self, canvas: Canvas, head: Head) -> None:
        """Cap with visor, beanie with turn-up, or sun hat with brim."""
        kind, paint, body = self.outfit["hat_type"], self.paints["hat"], self.body
        if kind == "none":
            return
        x, y = head.centre
        rx, ry = head.rx * 1.14, head.ry
        tall = {"cap": 1.12, "beanie": 1.30, "sun hat": 1.22}[kind]
        dome = _DOME * (rx, (tall - 0.40) * ry) + (x, y - 0.40 * ry)
        canvas.paint(dome, paint, HAT, shadow=0.1)
        band = (np.array([x - rx, y - 0.38 * ry]), np.array([x + rx, y - 0.38 * ry]))
        if kind == "cap":
            visor = np.array([x + 0.85 * body.sin * rx, y - 0.36 * ry])
            if body.cos > -0.35:
                canvas.dab(oval(visor, (0.72 + 0.1 * abs(body.sin)) * rx, 0.14 * ry, 14),
                             paint * 0.74, HAT)
        elif kind == "beanie":
            canvas.dab(limb(*band, 0.15 * ry, 0.15 * ry), paint * 0.82, HAT)
        else:
            canvas.dab(disc(x, y - 0.38 * ry, 1.85 * rx, 0.20 * ry, 20), paint * 0.92, HAT)
            canvas.dab(limb(*band, 0.07 * ry, 0.07 * ry), paint * 0.6, HAT)


def _lighter(paint: np.ndarray, share: float) -> np.ndarray:
    return paint + (235 - paint) * np.float32(share)


def pattern(name: str, body: Body) -> Texture | None:
    """Where the accent colour shows, in coordinates that move with the trunk."""
    u = body.unit
    x0, y0 = body.at(0, 0, 0.80 - body.sink)
    wide = max(0.45, abs(body.cos))
    stripe = 0.062 * u

    def wave(t, edge=2.2):
        return np.clip(np.sin(2 * np.pi * t) * edge + 0.5, 0, 1)

    match name:
        case "horizontal stripes":
            return lambda x, y: wave((y - y0) / stripe) + 0 * x
        case "vertical stripes":
            return lambda x, y: wave((x - x0) / (stripe * wide)) + 0 * y
        case "checks":
            return lambda x, y: 0.5 * (wave((y - y0) / (1.15 * stripe))
                                       + wave((x - x0) / (1.15 * stripe * wide)))
        case "dots":
            return lambda x, y: np.clip(
                1.6 - 5.5 * np.hypot((x - x0) / (stripe * wide) % 1 - 0.5,
                                     (y - y0) / stripe % 1 - 0.5), 0, 1)
    return None

"""Two independent factors, eight people and six outfits, mixed into one feature: nothing hidden.

Chance of reading an outfit is 1/6, of reading a person 1/8.
"""
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

PEOPLE, OUTFITS, WIDTH = 8, 6, 16


class Toy:
    """Features of `n` people in outfits, with a text vector for each factor.

    Args:
        seed: of the factors and of every draw.
        in_id_text: share of identity texts that also speak of the clothes.
    """

    def __init__(self, seed: int = 0, in_id_text: float = 0.0):
        self.rng = torch.Generator().manual_seed(seed)
        self.who, self.worn = self._normal(PEOPLE, WIDTH), self._normal(OUTFITS, WIDTH)
        self.mix = self._normal(2 * WIDTH, 2 * WIDTH) / (2 * WIDTH) ** 0.5
        self.in_id_text = in_id_text

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.rng)

    def draw(self, n: int = 128) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Labels of people and outfits (n,), features (n, 32), identity and clothing texts."""
        who = torch.randint(PEOPLE, (n,), generator=self.rng)
        worn = torch.randint(OUTFITS, (n,), generator=self.rng)
        x = torch.cat([self.who[who], self.worn[worn]], dim=1) + 0.3 * self._normal(n, 2 * WIDTH)
        said = (torch.rand(n, generator=self.rng) < self.in_id_text).float()[:, None]
        id_text = self.who[who] + said * self.worn[worn]
        return who, worn, x @ self.mix, id_text, self.worn[worn]


class Branches(nn.Module):
    """One encoder and one text head a factor, as small as can be."""

    def __init__(self, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.identity, self.cloth = (nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32))
                                     for _ in range(2))
        self.id_text, self.cloth_text = nn.Linear(WIDTH, 32), nn.Linear(WIDTH, 32)


def train(toy: Toy, branches: Branches, loss, steps: int = 400, lr: float = 3e-3) -> float:
    """Optimise ``loss(branches, *toy.draw())``; its last value."""
    step = torch.optim.Adam(branches.parameters(), lr=lr)
    for _ in range(steps):
        value = loss(branches, *toy.draw())
        step.zero_grad()
        value.backward()
        step.step()
    return value.item()


def readable(features: Tensor, labels: Tensor) -> float:
    """Held-out accuracy of a linear reading."""
    half = len(labels) // 2
    probe = LogisticRegression(max_iter=2000).fit(features[:half], labels[:half])
    return probe.score(features[half:], labels[half:])

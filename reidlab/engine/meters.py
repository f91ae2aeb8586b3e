"""Running means of the loss terms, and the one log line that note 001 prints."""
SPELLING = {"info_nce": "InfoNCE"}  # the others are written without underscores


class LossMeters:
    """Means of every term over the steps of an epoch that this process has seen.

    Args:
        epochs: of the whole run.
        per_epoch: steps of each.

    Source: note 001 §2.2.3.
    """

    def __init__(self, epochs: int, per_epoch: int):
        self.epochs, self.per_epoch = epochs, per_epoch
        self.epoch = 0
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def update(self, epoch: int, row: dict[str, float]) -> None:
        """Take in the terms ``loss/…`` of one step; a new epoch starts from nothing."""
        if epoch != self.epoch:
            self.epoch, self.sums, self.counts = epoch, {}, {}
        for key, value in row.items():
            if key.startswith("loss/"):
                name = key.removeprefix("loss/")
                self.sums[name] = self.sums.get(name, 0.0) + value
                self.counts[name] = self.counts.get(name, 0) + 1

    @property
    def means(self) -> dict[str, float]:
        """Each term's mean, ``total`` first."""
        order = sorted(self.sums, key=lambda name: name != "total")
        return {name: self.sums[name] / self.counts[name] for name in order}

    def line(self, step: int) -> str:
        """``Epoch 1/80, Batch 20/312, Total: 5.1234, InfoNCE: 2.3026, …``.

        Args:
            step: done so far, from 1.
        """
        done = (step - 1) % self.per_epoch + 1
        terms = [f"{spelled(name)}: {mean:.4f}" for name, mean in self.means.items()]
        return ", ".join([f"Epoch {self.epoch}/{self.epochs}", f"Batch {done}/{self.per_epoch}",
                          *terms])


def spelled(name: str) -> str:
    """A term as the line writes it: ``cloth_adv`` is ``ClothAdv``."""
    return SPELLING.get(name) or "".join(part.capitalize() for part in name.split("_"))

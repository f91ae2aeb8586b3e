"""Wrong descriptions that nearly fit: similar clothes on somebody else."""
from functools import lru_cache

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer


class SimilarCaptions:
    """Ranks captions by the words they share, rare words counting more (TF-IDF cosine).

    Args:
        captions: all captions of a split; repeated ones count once.
        most: similarity from which two captions say the same, so that neither is a negative.

    Source: note 001 §5.2.2, negatives with similar clothes.
    """

    def __init__(self, captions: list[str], most: float = 0.9):
        self.captions, self.most = list(dict.fromkeys(captions)), most
        self._words = TfidfVectorizer(token_pattern=r"\w+")
        self._rows = self._words.fit_transform(self.captions)
        self.near = lru_cache(maxsize=50_000)(self._near)

    def similarity(self, caption: str) -> np.ndarray:
        """(M,) cosine of `caption` with each of the M distinct captions."""
        return (self._rows @ self._words.transform([caption]).T).toarray()[:, 0]

    def _near(self, caption: str, count: int = 20) -> list[str]:
        """The most similar captions that do not say the same, best first."""
        found = self.similarity(caption)
        order = np.argsort(-found, kind="stable")
        return [self.captions[k] for k in order[found[order] < self.most][:count]]


def rivals(texts: list[str], same: np.ndarray, rng: np.random.Generator) -> list[str]:
    """For each text another of the batch that shares many words with it.

    Args:
        texts: B whole descriptions.
        same: (B, B) bool, where two descriptions mean the same picture content.
        rng: breaks ties, and takes one of the three closest.

    Returns:
        B texts; an own text where nothing else is left.
    """
    words = [set(text.lower().replace(",", " ").replace(".", " ").split()) for text in texts]
    found = []
    for k, own in enumerate(words):
        others = [j for j in range(len(texts)) if not same[k, j]]
        score = {j: len(own & words[j]) / max(1, len(own | words[j])) for j in others}
        best = sorted(others, key=score.__getitem__, reverse=True)[:3]
        found.append(texts[best[int(rng.integers(len(best)))]] if best else texts[k])
    return found

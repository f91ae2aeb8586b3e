"""The learning rate over a run."""
import pytest

from reidlab.engine.optim import learning_rate
from tests.conftest import mini


def test_learning_rate_warms_up_and_follows_a_cosine():
    config = mini(training__warmup=10, training__lr=1.0, training__final_lr=0.0).training
    assert [learning_rate(config, k, 110) for k in (0, 9, 10, 60)] == pytest.approx(
        [0.1, 1.0, 1.0, 0.5])
    assert learning_rate(config, 110, 110) == pytest.approx(0, abs=1e-9)

"""What tests of other people's data share."""
import signal

import pytest


@pytest.fixture
def at_once():
    """What waits for a pipe is stopped, so that the test fails and does not hang."""
    def stop(*_):
        pytest.fail("it waits for a pipe or a device")
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)

"""Experiments on trained models: as they are kept, and how they are measured."""
import re

import pytest

from reidlab import load
from tests import rows, studies
from tests.experiments import DOCUMENT, document, experiments


def test_the_page_of_experiments_is_what_was_measured():
    assert DOCUMENT.read_text() == document(), "python -m tests.experiments writes it"


def test_every_experiment_says_what_it_answers_and_how_it_is_made_again():
    answered = set()
    for title, of in experiments().items():
        assert of["question"] and of["trained"] and of["answer"], title
        assert re.search(r"\d", of["answer"]), f"{title}: a verdict stands beside its number"
        answered |= set(of["rows"])
        seeds = {len(v) for x in of["variants"].values() for v in x["scores"].values() if v}
        assert seeds == {3} or seeds == {1} and of["trained"].startswith("Untrained"), title
        for variant in of["variants"].values():
            assert variant["command"].startswith(("reidlab ", "python -m tests.studies "))
    assert answered <= set(rows.rows())


@pytest.mark.parametrize("study", ["occlusion", "people"])
def test_a_study_reads_a_trained_run(run, data, study):
    found = studies.STUDIES[study](load(run), data)
    if study == "occlusion":
        assert found["R1, 0% covered"] >= found["R1, 50% covered"]
    else:
        people = len(set(data.test.pids.tolist()))
        assert all(len(hits) == people and 0 <= min(hits) for hits in found.values())

"""Kills, malformed inputs and full disks on purpose: ``python -m tests.campaign``.

    running     one command in a forked child, with a time limit
    world       the small sound things that everything is spoiled from
    mutations   ways to spoil bytes, JSON, lists and pictures
    cases       case number → area → commands; the areas are the files ``*_cases``
    judging     what counts as a finding
    inputs      malformed inputs, side by side
    kills       ``kill -9`` at random moments, and a comparison with an undisturbed run
    disk        a small disk that fills up
    summary     counts, and every finding in one line

pytest does not collect it: it takes minutes, and it looks for what nobody has thought of.
"""

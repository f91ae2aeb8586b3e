"""Processes forked from one that has imported everything: as clean as new ones, seconds sooner.

Half of the suite's processes would spend more time on importing torch and transformers than on
what is tested. `Warm` stands in for ``subprocess.Popen`` where only what a process does is looked
at; what it is started with, and what it imports, is tested with real ones.
"""
import contextlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys

import psutil

READY = multiprocessing.get_context("forkserver")
# not reidlab.notebook, which looks for its kernel while it is imported
READY.set_forkserver_preload(["ipykernel.kernelapp", "reidlab.bench", "reidlab.widgets.run_panel",
                              "reidlab.widgets.search_box", "reidlab.widgets.attention_viewer"])


class Warm:
    """``python -m MODULE …`` in a process of its own, with the parts of Popen that are used."""

    stdin = stdout = stderr = None
    spent = 0.0  # processor seconds of all of them, as they were last asked whether they live

    def __init__(self, command, *, env=None, cwd=None, stdout=None, **other):
        assert command[:2] == [sys.executable, "-m"], command
        log = getattr(stdout, "name", None) if stdout not in (None, subprocess.DEVNULL) else None
        said, saying = READY.Pipe(duplex=False)
        self._process = READY.Process(target=_run, args=(
            command[2:], dict(os.environ if env is None else env), cwd or os.getcwd(), log, saying))
        self._process.start()
        saying.close()
        said.recv()  # it leads a group of its own by now: nobody's signal meets another
        self.pid, self._spent = self._process.pid, 0.0

    @property
    def returncode(self):
        return self.poll()

    def poll(self):
        with contextlib.suppress(psutil.Error):
            spent = sum(psutil.Process(self.pid).cpu_times()[:4])  # own and children's
            Warm.spent, self._spent = Warm.spent + spent - self._spent, spent
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired("warm", timeout)
        return self.poll()

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def _run(arguments, env, cwd, log, saying):
    os.setsid()
    saying.send("started")
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    if log:
        end = os.open(log, os.O_WRONLY | os.O_APPEND)
        os.dup2(end, 1)
        os.dup2(end, 2)
    if "OMP_NUM_THREADS" in env:
        import torch
        torch.set_num_threads(int(env["OMP_NUM_THREADS"]))
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)

"""Files are whole or absent, and nothing of a killed process stays."""
import os
import subprocess
import sys

import pytest

from reidlab.errors import MissingPath, ReidlabError
from reidlab.files import HOST, read_json, write_json


def test_what_a_process_left_that_was_killed_while_writing_is_cleared_away(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for name in (f".x.json.{HOST}.{gone.pid}.part",       # of a dead process of this host: goes
                 f".x.json.{HOST}.{os.getppid()}.part",   # somebody writes it now
                 f".x.json.elsewhere.{gone.pid}.part",    # nobody can look from here
                 f".y.json.{HOST}.{gone.pid}.part"):      # of another file
        (tmp_path / name).write_text("{")
    write_json(tmp_path / "x.json", {})
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([
        "x.json", f".x.json.{HOST}.{os.getppid()}.part", f".x.json.elsewhere.{gone.pid}.part",
        f".y.json.{HOST}.{gone.pid}.part"])


@pytest.mark.parametrize(("content", "says"), [
    (b"\xff\xfe", "no UTF-8 text"), (b"[" * 100_000, "nested too deep"), (b"{", "line 1 column 2"),
    (b"1" * 5000, "readable JSON")])
def test_a_file_that_is_no_json_is_named_with_the_reason_in_one_line(tmp_path, content, says):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ReidlabError) as fault:
        read_json(tmp_path / "x")
    said = str(fault.value)
    assert says in said and "\n" not in said and "codec" not in said and "Errno" not in said
    with pytest.raises(MissingPath, match="no file"):
        read_json(tmp_path / "none")
    with pytest.raises(ReidlabError, match="it is a folder; name a file"):
        write_json(tmp_path, {})


def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x")
    with pytest.raises(ReidlabError, match="is no regular file; remove it"):
        read_json(tmp_path / "x")


def test_nan_is_no_json_and_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "x", {"a": 1})
    with pytest.raises(ReidlabError, match="NaN or an infinity"):
        write_json(tmp_path / "x", {"a": float("nan")})
    assert read_json(tmp_path / "x") == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x"]

"""``make mutants``: every small wrong version of the code against the tests of its row.

Each is put into a copy of the project, and the marked tests of its row run there until one fails,
quick ones first. At the end all tests that noticed something run in a copy without any fault: one
that fails there, too, has noticed nothing.
"""
import json
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

from reidlab.files import write_whole
from tests.mutants import KILLED, ROOT, killed, mutants
from tests.mutants.judging import failed, judge
from tests.rows import DOCUMENT, document

AT_ONCE = 2  # copies


def main(rows: list[str]) -> int:
    """Judge all mutants, those of some rows, or ``new`` ones; write down who noticed.

    Returns:
        how many survived.
    """
    began = time.perf_counter()
    seen = killed()
    asked = [one for one in mutants() if not rows or one.row in rows
             or "new" in rows and one.digest not in seen]
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(AT_ONCE) as workers:
        free: Queue[Path] = Queue()
        for k in range(AT_ONCE):
            free.put(copy(Path(place) / str(k)))
        noticed = dict(zip(asked, workers.map(lambda one: judge(one, free), asked), strict=True))
        innocent = sorted({test for test in noticed.values() if test})
        fault = failed(free.get(), innocent) if innocent else None
    if fault:
        print(f"{fault} fails without any fault in the code: it has noticed nothing")
        return 1
    survivors = [one for one, test in noticed.items() if not test]
    known = {one.digest for one in mutants()} - {one.digest for one in survivors}
    found = {digest: test for digest, test in seen.items() if digest in known}
    found |= {one.digest: test for one, test in noticed.items() if test}
    text = json.dumps(dict(sorted(found.items())), indent=1) + "\n"
    write_whole(KILLED, lambda out: out.write(text.encode()))
    write_whole(DOCUMENT, lambda out: out.write(document().encode()))
    for one in survivors:
        print(f"survived: {one.row} {one.file}\n  - {one.old}\n  + {one.new}")
    print(f"{len(asked)} mutants, {len(survivors)} survivors, "
          f"{(time.perf_counter() - began) / 60:.1f} min")
    return len(survivors)


def copy(folder: Path) -> Path:
    """All files of the project that git does not ignore."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))

"""What this machine has, and which path the package takes because of it."""
import os
import platform
from pathlib import Path

import torch

from reidlab.data.packing import cache_folder
from reidlab.encoders.vit import fast_attention
from reidlab.fusion.selective_scan import mamba_path
from reidlab.runs.provenance import provenance
from reidlab.threads import in_force


def examine() -> dict[str, str]:
    """Name → finding, in the order worth reading."""
    cuda = torch.cuda.is_available()
    known = provenance()
    return {
        "python": platform.python_version(),
        **{k: v for k, v in known["versions"].items() if k != "python"},
        "commit": known["commit"],
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "threads wait": in_force(),
        "device": torch.cuda.get_device_name(0) if cuda else "cpu",
        "mixed precision": "bf16" if cuda else "off (fp32 on CPUs)",
        "attention": fast_attention(),
        "scan": mamba_path(),
        "picture cache": str(cache_folder()).replace(str(Path.home()), "~", 1),
    }

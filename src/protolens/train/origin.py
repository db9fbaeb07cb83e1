"""Where figures come from: the commit, the versions and the hardware that made a run or an evaluation."""

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch

import protolens
from protolens.train.team import Team

SOURCE = Path(protolens.__file__).parents[2]  # the checkout, where there is one


def made_with(team: Team) -> dict[str, Any]:
    """Commit, versions and hardware, for the reader who wants the same figures."""
    device = team.device
    return {
        "commit": commit(),
        "protolens": protolens.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": team.size,
    }


@cache
def commit() -> str:
    """The commit of protolens' checkout when this process first asked; "-dirty" if tracked files differ from it.

    A package that is no checkout has "release VERSION", and a checkout that git cannot read "unknown".
    """
    if not (SOURCE / ".git").exists():
        return f"release {protolens.__version__}"
    words = ["git", "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"]
    try:
        said = subprocess.run(words, cwd=SOURCE, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return said or "unknown"


@cache
def processor() -> str:
    """The processor's name as its maker writes it, or its architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine() or "unknown"

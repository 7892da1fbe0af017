"""`headway info`: what a bug report needs."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

from rich.console import Console
from rich.table import Table
from rich.text import Text

from headway import gpu
from headway.extras import EXTRAS, install_line, missing
from headway.launch.threads import available_cores


def info(console: Console) -> int:
    """Print versions, cores, GPUs with their driver, and extras."""
    table = Table.grid(padding=(0, 3, 0, 1))
    table.add_column(style="bold")
    table.add_column()
    table.add_row("headway", version("headway"))
    table.add_row("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    table.add_row("cpu", f"{available_cores()} of {os.cpu_count()} cores usable, {_processor()}")
    if "torch" not in missing("trainer"):
        for name, value in _torch():
            table.add_row(name, value)
    for extra in EXTRAS:
        absent = missing(extra)
        told = (
            Text("installed", "green")
            if not absent
            else Text(f"{install_line(extra)}  (no {', '.join(absent)})", "yellow")
        )
        table.add_row(f"[{extra}]".replace("[", r"\["), told)
    console.print(table, highlight=False)
    return 0


def _torch() -> list[tuple[str, str]]:
    import torch

    cuda = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    gpus = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())) or "none"
    driver = gpu.driver()  # which may be there while torch can use no GPU
    told = f"{gpus}, NVIDIA driver {driver}" if driver else gpus
    return [("torch", f"{torch.__version__}, {cuda}"), ("gpu", told)]


def _processor() -> str:
    """Return the CPU's name where Linux tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"

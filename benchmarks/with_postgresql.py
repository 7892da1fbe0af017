"""Run a command with a PostgreSQL of its own, `{url}` in its words replaced. Root's server is nobody's.

    python benchmarks/with_postgresql.py headway bench study --postgresql {url}

The server listens on a socket in a new folder, with the settings that PostgreSQL comes with, and is gone afterwards.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def program(name: str) -> str:
    """Return one of PostgreSQL's programs, also where Debian hides them."""
    found = [shutil.which(name), *map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))]
    return next((program for program in found if program), "") or sys.exit(f"{name} is not installed: postgresql")


def main() -> int:
    """Start, run, end; returns the command's exit code."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    as_nobody: dict[str, Any] = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
    user = "nobody" if as_nobody else getpass.getuser()
    with tempfile.TemporaryDirectory(prefix="headway-pg-", dir="/tmp") as folder:  # a socket's path is short
        if as_nobody:
            shutil.chown(folder, "nobody", "nogroup")
        make = [program("initdb"), "-D", f"{folder}/data", "-A", "trust", "-U", user]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL, cwd="/", **as_nobody)
        serve = [program("postgres"), "-D", f"{folder}/data", "-k", folder, "-c", "listen_addresses="]
        server = subprocess.Popen(serve, stderr=subprocess.DEVNULL, cwd="/", **as_nobody)
        try:
            while not Path(folder, ".s.PGSQL.5432").exists():
                if server.poll() is not None:
                    sys.exit(f"postgres ended with {server.returncode}")
                time.sleep(0.1)
            url = f"postgresql://{user}@/postgres?host={folder}"
            return subprocess.call([word.replace("{url}", url) for word in sys.argv[1:]])
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()


if __name__ == "__main__":
    sys.exit(main())

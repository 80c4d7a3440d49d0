"""How much memory this process may still take."""

import contextlib
import pathlib

MEMINFO = pathlib.Path("/proc/meminfo")
LIMIT = pathlib.Path("/sys/fs/cgroup/memory.max")
USED = pathlib.Path("/sys/fs/cgroup/memory.current")
"""Of a container, with version 2 of control groups."""


def available_memory() -> int | None:
    """Bytes of it; None where the system doesn't say."""
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) << 10)
    with contextlib.suppress(OSError, ValueError):
        # Without a limit there is a word in place of a number.
        found.append(int(LIMIT.read_text()) - int(USED.read_text()))
    return max(min(found), 0) if found else None

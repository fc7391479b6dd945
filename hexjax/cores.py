"""How many CPU cores this process may use. Standard library alone."""

import os


def allowed() -> int:
    """The cores that the process may use, which a container or taskset may have made fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

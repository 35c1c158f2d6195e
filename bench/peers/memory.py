"""Peak of the resident set, resettable: Linux only."""

import re


def _status(field: str) -> int | None:
    try:
        with open("/proc/self/status") as file:
            found = re.search(rf"^{field}:\s+(\d+) kB", file.read(), re.M)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def resident_before() -> int | None:
    """Sets the peak back to what is resident now, and returns that; None where the system does not let us."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return None
    return _status("VmRSS")


def growth_since(before: int | None) -> int | None:
    peak = _status("VmHWM")
    return None if before is None or peak is None else max(0, peak - before)

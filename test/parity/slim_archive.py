"""Leaves the `.debug_pkl` records out of a TorchScript archive: source ranges for error messages, a sixth of its size.

The serialisation id goes with them: it is a hash over them, and so over the paths of whoever runs this.
"""

import zipfile
from pathlib import Path

LEFT_OUT = (".debug_pkl", "/.data/serialization_id")
ALIGNMENT = 64  # torch pads each record to it with an extra field named FB
HEADER = 30  # bytes of a local file header before the name


def slim(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = [
            (entry, archive.read(entry)) for entry in archive.infolist() if not entry.filename.endswith(LEFT_OUT)
        ]
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in entries:
            kept = zipfile.ZipInfo(entry.filename)  # its fixed date makes the file repeatable
            kept.compress_type = entry.compress_type
            start = archive.fp.tell() + HEADER + len(entry.filename.encode()) + 4
            padding = -start % ALIGNMENT
            kept.extra = b"FB" + padding.to_bytes(2, "little") + bytes(padding)
            archive.writestr(kept, content)

"""Saves one state dict in the forms that torch.save had before, and things that are no state dicts.

Usage: save_old_forms.py FOLDER
"""

import argparse
import io
import pathlib
import pickle
import struct
import sys
import tarfile

import torch

folder = pathlib.Path(sys.argv[1])
torch.manual_seed(3)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 4, 3, stride=4),
    torch.nn.ReLU(),
    torch.nn.AdaptiveAvgPool2d(1),
    torch.nn.Flatten(),
    torch.nn.Linear(4, 3),
).eval()
state = {name: value.detach() for name, value in model.state_dict().items()}


def as_tar(path: pathlib.Path) -> None:
    """As releases before 0.1.11 did it, and as `torch.load` still reads it."""
    storages = io.BytesIO()
    pickle.dump(len(state), storages, protocol=2)
    for key, value in enumerate(state.values()):
        pickle.dump((key, "cpu", torch.FloatStorage), storages, protocol=2)
        storages.write(struct.pack("<q", value.numel()) + value.numpy().tobytes())
    pickle.dump([], storages, protocol=2)
    tensors = io.BytesIO()
    pickle.dump(len(state), tensors, protocol=2)
    for key, value in enumerate(state.values()):
        pickle.dump((len(state) + key, key, torch.FloatTensor), tensors, protocol=2)
        tensors.write(struct.pack("<ii", value.dim(), 0))
        tensors.write(struct.pack(f"<{2 * value.dim()}q", *value.shape, *value.stride()) + struct.pack("<q", 0))

    class Persistent(pickle.Pickler):
        def persistent_id(self, thing):
            return next((str(len(state) + i) for i, value in enumerate(state.values()) if value is thing), None)

    root = io.BytesIO()
    Persistent(root, protocol=2).dump(state)
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as tar:
        for name, part in (("storages", storages), ("tensors", tensors), ("pickle", root)):
            info = tarfile.TarInfo(name)
            info.size = len(part.getvalue())
            tar.addfile(info, io.BytesIO(part.getvalue()))


torch.save(state, folder / "state.pth")
torch.save(state, folder / "pickle.pth", _use_new_zipfile_serialization=False)
as_tar(folder / "tar.pth")
torch.save(model, folder / "module.pth")
torch.save({"model": state, "args": argparse.Namespace(lr=1)}, folder / "namespace.pth")

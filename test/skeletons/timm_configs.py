"""Prints what timm says of models: the config.json that it saves for each, with the record of its default weights.

python test/skeletons/timm_configs.py NAME[:CLASSES] [NAME[:CLASSES] ...]
"""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models"))

import torch
from torchvision_import import import_torchvision

import_torchvision()
import timm
from timm.models import get_pretrained_cfg
from timm.models._hub import save_config_for_hf

found = {}
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "config.json"
    for asked in sys.argv[1:]:
        name, _, classes = asked.partition(":")
        with torch.device("meta"):
            model = timm.create_model(name, **({"num_classes": int(classes)} if classes else {}))
        save_config_for_hf(model, path)
        record = get_pretrained_cfg(name).to_dict()
        found[name] = {
            "config": path.read_text(),
            "repository": record["hf_hub_id"],
            "license": record["license"],
            "classes": record["num_classes"],
            "parameters": sum(tensor.numel() for tensor in model.parameters()),
        }
print(json.dumps(found))

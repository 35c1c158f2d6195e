"""Reads manifests as JSON and takes each through the models of Kubernetes' and KServe's own clients.

They refuse what is of a wrong type and drop what they do not know, so all that went in must come back.
"""

import json
import re
import sys

from kserve import models as kserve
from kubernetes.client import ApiClient
from kubernetes.client import models as kubernetes

CLIENT = ApiClient()

KINDS = {
    "Deployment": "V1Deployment",
    "Service": "V1Service",
    "PodDisruptionBudget": "V1PodDisruptionBudget",
    "HorizontalPodAutoscaler": "V2HorizontalPodAutoscaler",
    "InferenceService": "V1beta1InferenceService",
}
NATIVE = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object}


def problems(data, name, at):
    """Where the data is not of the type of that name."""
    if inner := re.fullmatch(r"list\[(.+)\]", name):
        if not isinstance(data, list):
            return [f"{at} is no list"]
        return [found for i, each in enumerate(data) for found in problems(each, inner[1], f"{at}[{i}]")]
    if inner := re.fullmatch(r"dict\(str, (.+)\)", name):
        if not isinstance(data, dict):
            return [f"{at} is no object"]
        return [found for key, each in data.items() for found in problems(each, inner[1], f"{at}.{key}")]
    if name in NATIVE:
        return [] if isinstance(data, NATIVE[name]) else [f"{at} is no {name}"]
    if hasattr(kserve, name):
        return problems_of_kserve(data, getattr(kserve, name), at)
    if hasattr(kubernetes, name):
        return problems_of_kubernetes(data, getattr(kubernetes, name), at)
    raise SystemExit(f"{at} is of the type {name}, which neither client has")


def problems_of_kserve(data, model, at):
    if not isinstance(data, dict):
        return [f"{at} is no {model.__name__}"]
    attributes = {key: model.openapi_types[name] for name, key in model.attribute_map.items()}
    found = [f"{at} has no {key}" for key in data if key not in attributes]
    for key, each in data.items():
        if key in attributes:
            found += problems(each, attributes[key], f"{at}.{key}")
    return found


def problems_of_kubernetes(data, model, at):
    try:
        back = CLIENT.sanitize_for_serialization(model.from_dict(data))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        return [f"{at}: {error}"]
    return lost(data, back, at)


def lost(data, back, at):
    """Where something did not come back; defaults may have come with it."""
    if isinstance(data, dict) and isinstance(back, dict):
        return [found for key, each in data.items() for found in lost(each, back.get(key), f"{at}.{key}")]
    if isinstance(data, list) and isinstance(back, list) and len(data) == len(back):
        return [found for i, each in enumerate(data) for found in lost(each, back[i], f"{at}[{i}]")]
    return [] if back == data else [f"{at}: {json.dumps(data)} becomes {json.dumps(back)}"]


found = []
for manifest in json.load(sys.stdin):
    kind = manifest["kind"]
    found += problems(manifest, KINDS[kind], kind)
print(json.dumps(found))

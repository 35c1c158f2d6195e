"""Asks a service by the clients of KServe and Triton; prints what they were answered, as JSON.

Usage: python ask.py ADDRESS MODEL IMAGE
"""

import asyncio
import base64
import json
import sys

import httpx
import numpy as np
import tritonclient.http as triton
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from tritonclient.utils import InferenceServerException


async def by_kserve(address: str, name: str, picture: bytes, pixels: np.ndarray) -> dict:
    v1 = InferenceRESTClient(RESTConfig(protocol="v1", timeout=600))
    v2 = InferenceRESTClient(RESTConfig(protocol="v2", timeout=600))
    instances = {"instances": [{"b64": base64.b64encode(picture).decode()}]}
    explained = await v1.explain(address, name, {**instances, "method": "grad-cam", "size": "grid"})
    as_json = InferInput("input", list(pixels.shape), "FP32")
    as_json.set_data_from_numpy(pixels, binary_data=False)
    binary = InferInput("input", list(pixels.shape), "FP32")
    binary.set_data_from_numpy(pixels, binary_data=True)
    answers = [
        await v2.infer(address, InferRequest(name, [each], request_id="7"), model_name=name)
        for each in (as_json, binary)
    ]
    with_errors = []
    for protocol, ask in (("v1", v1.infer), ("v2", v2.infer)):
        try:
            await ask(address, {"instances": 3}, model_name=name)
        except httpx.HTTPStatusError as error:
            with_errors.append([protocol, str(error)])
    return {
        "ready": [await v1.is_model_ready(address, name), await v2.is_model_ready(address, name)],
        "server": [await v2.is_server_live(address), await v2.is_server_ready(address)],
        "predict": await v1.infer(address, instances, model_name=name),
        "explain": explained,
        "infer": [
            {each.name: np.asarray(each.as_numpy()).tolist() for each in answer.outputs if each.name != "labels"}
            for answer in answers
        ],
        "ids": [answer.id for answer in answers],
        "errors": with_errors,
    }


def by_triton(address: str, name: str, picture: bytes, pixels: np.ndarray) -> dict:
    client = triton.InferenceServerClient(address.removeprefix("http://"), network_timeout=600)
    tensor = triton.InferInput("input", list(pixels.shape), "FP32")
    answers = {}
    for is_binary in (False, True):
        tensor.set_data_from_numpy(pixels, binary_data=is_binary)
        asked = [triton.InferRequestedOutput(output, binary_data=is_binary) for output in ("logits", "labels")]
        result = client.infer(name, [tensor], outputs=asked, request_id="7")
        # As JSON the client gives texts, as bytes what they are written as.
        rows = result.as_numpy("labels").tolist()
        labels = [[label.decode() if is_binary else label for label in row] for row in rows]
        answers[is_binary] = {"logits": result.as_numpy("logits").tolist(), "labels": labels}
    image = triton.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(np.array([picture], dtype=np.object_))
    of_image = client.infer(name, [image]).as_numpy("logits").tolist()
    try:
        client.infer("no-such-model", [image])
        error = None
    except InferenceServerException as refused:
        error = [refused.status(), refused.message()]
    client.unload_model(name)
    is_ready = [client.is_model_ready(name)]
    client.load_model(name)
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model": [*is_ready, client.is_model_ready(name)],
        "server": client.get_server_metadata(),
        "metadata": client.get_model_metadata(name),
        "index": client.get_model_repository_index(),
        "json": answers[False],
        "binary": answers[True],
        "image": of_image,
        "error": error,
    }


def main() -> None:
    address, name, file = sys.argv[1:]
    with open(file, "rb") as opened:
        picture = opened.read()
    # What the model takes: any numbers will do, the same on both sides.
    size = triton.InferenceServerClient(address.removeprefix("http://")).get_model_metadata(name)["inputs"][0]["shape"]
    count = int(np.prod(size[1:]))
    pixels = (np.arange(count, dtype=np.float32) % 97 / 97).reshape(1, *size[1:])
    answers = {
        "kserve": asyncio.run(by_kserve(address, name, picture, pixels)),
        "triton": by_triton(address, name, picture, pixels),
    }
    print(json.dumps(answers))


main()

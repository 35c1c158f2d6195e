"""The Python side of bench/peers/run.mjs: one JSON request per line on stdin, one JSON answer per line on stdout.

Requests: {"id", "do": "hello" | "load" | "warm" | "run" | "answer" | "unload", ...}
Answers:  {"id", "ok": {...}} or {"id", "error": {"kind": "package" | "failure", "package"?, "message"}}

Between requests the process waits in a read, asleep. `idleCpu` and `idleSeconds` of each answer to "run" are the CPU
time and the time since its last answer: what OpenMP's threads spun away meanwhile would show there.
"""

import importlib
import json
import os
import sys
import time
import warnings
from pathlib import Path

# Whatever a package prints must not come between the answers.
_answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).parent))

MODULES = {
    "eager": "plain_forward",
    "eager-channels-last": "plain_forward",
    "eager-bf16": "plain_forward",
    "eager-bf16-channels-last": "plain_forward",
    "compile": "plain_forward",
    "pytorch-grad-cam": "grad_cam_package",
    "torch-cam": "torch_cam_package",
    "captum": "captum_package",
    "torch-cam-metrics": "metric_packages",
    "quantus": "metric_packages",
    "vit-explain": "attention_code",
    "chefer": "attention_code",
}
DISTRIBUTIONS = ("torch", "torchvision", "timm", "grad-cam", "torchcam", "captum", "quantus", "numpy")
jobs: dict = {}
results: dict = {}
_last_answer = (time.perf_counter(), time.process_time())


def hello(request: dict) -> dict:
    import torch
    from importlib import metadata

    # sightline's own threads run at niceness 5; beside other work whoever is nicer waits longer.
    os.nice(request.get("niceness", 0))
    torch.set_num_threads(request["threads"])
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return {
        "python": sys.version.split()[0],
        "versions": found,
        "threads": torch.get_num_threads(),
        "cpuCapability": torch.backends.cpu.get_cpu_capability(),
    }


def load(request: dict) -> dict:
    import numpy as np
    import torch
    from networks import BUNDLED, NETWORKS
    from peer import BUILDERS, Setting

    name = request["peer"]
    importlib.import_module(MODULES[name.split("/")[0]])
    images = torch.from_numpy(np.load(request["images"]))
    model = (NETWORKS | BUNDLED)[request["network"]].load(Path(request["models"]))
    jobs[request["slot"]] = BUILDERS[name](Setting(model, images, request["targets"], request.get("options", {})))
    return {}


def warm(request: dict) -> dict:
    job = jobs[request["slot"]]
    if job.warm is not None:
        job.warm()
    else:
        results[request["slot"]] = job.run()
    return {}


def run(request: dict) -> dict:
    from memory import growth_since, resident_before

    job = jobs[request["slot"]]
    idle_seconds, idle_cpu = time.perf_counter() - _last_answer[0], time.process_time() - _last_answer[1]
    results.pop(request["slot"], None)
    before = resident_before() if request.get("memory") else None
    start, used = time.perf_counter(), time.process_time()
    result = job.run()
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    growth = growth_since(before) if request.get("memory") else None
    results[request["slot"]] = result
    return {"seconds": seconds, "cpu": cpu, "growth": growth, "idleCpu": idle_cpu, "idleSeconds": idle_seconds}


def answer(request: dict) -> dict:
    import numpy as np

    values = jobs[request["slot"]].answer(results[request["slot"]])
    np.save(request["path"], np.ascontiguousarray(values, dtype=np.float32))
    return {}


def unload(request: dict) -> dict:
    import gc

    jobs.pop(request["slot"], None)
    results.pop(request["slot"], None)
    gc.collect()
    return {}


COMMANDS = {"hello": hello, "load": load, "warm": warm, "run": run, "answer": answer, "unload": unload}


def main() -> None:
    global _last_answer
    while line := sys.stdin.readline():
        request = json.loads(line)
        reply = {"id": request["id"]}
        try:
            reply["ok"] = COMMANDS[request["do"]](request)
        except ModuleNotFoundError as error:
            reply["error"] = {"kind": "package", "package": (error.name or "?").split(".")[0], "message": str(error)}
        except Exception as error:  # noqa: BLE001  (told to the other side, which decides)
            first = next((line for line in str(error).splitlines() if line.strip()), "")
            reply["error"] = {"kind": "failure", "message": f"{type(error).__name__}: {first}"[:500]}
        _last_answer = (time.perf_counter(), time.process_time())
        _answers.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    main()

"""Exports the models of the zoo, and compares what sightline answers of each archive with what PyTorch says of the
model.

    python test/zoo/zoo.py [--format pt2] [--only PATTERN] [--again] [--parallel 2] [--folder FOLDER] [--keep] [--table]

Each model runs in a process of its own, limited in time and memory. What is done is kept in FOLDER/results.jsonl and
not done again, unless `--again`. The table goes to docs/zoo.md, that of programs to docs/zoo-pt2.md. `npm run zoo`
builds sightline first.
"""

import argparse
import dataclasses
import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "models"))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.simplefilter("ignore")

from torchvision_import import import_torchvision

import_torchvision()
import torch
import timm  # noqa: F401
import transformers  # noqa: F401

from compare import Answers, Comparison
from zoo_models import ENTRIES, QUIETER, Entry

BATCH, TARGET = 2, 3
ROUNDING = 0.1  # what rounding may make of a value, where the graph as it was exported is right
SECONDS = 900  # of one model, all its forms
MEGABYTES = 6000  # of its processes, without what they share with files


def export(model, form: str, images, path: Path) -> list[str]:
    """Writes the file; what is particular of it, as sentences."""
    if form.startswith("exported"):
        try:
            batch = {0: torch.export.Dim("batch", min=1, max=1024)}
            program, doubts = torch.export.export(model, (images,), dynamic_shapes=(batch,)), []
        except Exception:  # noqa: BLE001  (of any kind where the batch cannot be left open)
            program = torch.export.export(model, (images[:1],))
            doubts = ["exported for one image: its batch cannot be left open"]
        torch.export.save(program, str(path))
        return doubts
    with torch.no_grad():
        archive = (
            torch.jit.script(model)
            if form == "scripted"
            else torch.jit.trace(model, images, strict=False, check_trace=False)
        )
    archive.save(str(path))
    return []


def one_form(entry: Entry, form: str, folder: Path) -> dict:
    torch.manual_seed(0)
    from weights import fill

    seed = zlib.crc32(entry.name.encode())
    try:
        model = fill(entry.make(form.replace("exported", "traced")), entry.size, seed, QUIETER.get(entry.name, 1.0))
    except Exception as error:  # noqa: BLE001  (the table says so of this model; the others go on)
        return {"status": "harness", "doubts": [f"the model is not made: {type(error).__name__}: {error}"[:500]]}
    generator = torch.Generator().manual_seed(seed + 1)
    images = torch.randn(BATCH, 3, *entry.size, generator=generator)
    images[1] = images[1] * 0.5 + 0.3
    archive = folder / ("model.pt2" if form.startswith("exported") else "model.pt")
    try:
        particular = export(model, form, torch.randn(BATCH, 3, *entry.size, generator=generator), archive)
    except Exception as error:  # noqa: BLE001  (the table says so of this model; the others go on)
        return {
            "status": "no export",
            "doubts": [f"PyTorch cannot export it: {type(error).__name__}: {str(error).strip()[:300]}"],
        }
    (folder / "images.f32").write_bytes(images.numpy().tobytes())

    def compared(*more: str) -> dict:
        run = subprocess.run(
            [
                "node",
                str(HERE / "answers.mjs"),
                str(archive),
                str(folder / "images.f32"),
                ",".join(map(str, images.shape)),
                str(TARGET),
                str(folder / "answers"),
                *more,
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        if run.returncode != 0:
            return {
                "status": "crash",
                "doubts": [f"sightline ended with {run.returncode}: {run.stderr.strip()[-800:]}"],
            }
        return Comparison(entry.name, model, images, TARGET, Answers(folder / "answers"), entry.size).run()

    result = compared()
    result.setdefault("doubts", []).extend(particular)
    if result["status"] == "wrong":
        # A tuned graph rounds otherwise, and rectifiers and random weights can make much of that. The graph as it was
        # exported does not.
        exported = compared("as-exported")
        if exported["status"] in ("right", "error") and result["worst"] < ROUNDING:
            exported["doubts"].extend(particular)
            exported["doubts"].append(f"compared as exported; tuned: {'; '.join(result['wrong'][:3])}")
            return exported
    return result


def work(entry: Entry, forms: list[str], folder: Path, keep: bool) -> None:
    """In the child: one line of JSON for each form."""
    torch.set_num_threads(1)
    for form in forms:
        place = folder / f"{entry.name.replace('/', '-')}-{form}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        started = time.monotonic()
        try:
            result = one_form(entry, form, place)
        except Exception as error:  # noqa: BLE001  (the table says so of this model; the others go on)
            import traceback

            result = {
                "status": "harness",
                "doubts": [f"{type(error).__name__}: {error}"[:300], traceback.format_exc()[-1500:]],
            }
        line = json.dumps(
            {
                "model": entry.name,
                "form": form,
                "size": entry.size,
                "seconds": round(time.monotonic() - started, 1),
                **result,
            }
        )
        with open(folder / "results.jsonl", "a") as file:
            file.write(line + "\n")
        if not keep:
            shutil.rmtree(place, ignore_errors=True)


def anonymous_megabytes(group: int) -> float:
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if os.getpgid(int(status.parent.name)) != group:
                continue
            total += int(re.search(r"RssAnon:\s+(\d+)", status.read_text())[1])
        except (OSError, TypeError):
            continue
    return total / 1024


def read_results(folder: Path) -> dict[tuple[str, str], dict]:
    path = folder / "results.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return {(result["model"], result["form"]): result for result in map(json.loads, lines)}


def of_programs(entry: Entry) -> Entry:
    """The forms in which torch.export has a model: those that are traced."""
    forms = tuple(form.replace("traced", "exported") for form in entry.forms if form != "scripted")
    return dataclasses.replace(entry, forms=forms)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help='a name or pattern, such as "timm/vit*"')
    parser.add_argument("--format", choices=("torchscript", "pt2"), default="torchscript")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="default: build/zoo, of programs build/zoo-pt2")
    parser.add_argument("--keep", action="store_true", help="archives and answers stay in the folder")
    parser.add_argument("--table", action="store_true", help="only writes the table of what is done")
    options = parser.parse_args()
    is_programs = options.format == "pt2"
    options.folder = options.folder or ROOT / "build" / ("zoo-pt2" if is_programs else "zoo")
    options.folder.mkdir(parents=True, exist_ok=True)
    chosen = [
        of_programs(entry) if is_programs else entry
        for name, entry in ENTRIES.items()
        if not options.only or any(fnmatch.fnmatch(name, pattern) for pattern in options.only)
    ]
    if not chosen:
        print("no model has such a name", file=sys.stderr)
        return 2
    done = {} if options.again else read_results(options.folder)
    waiting = (
        []
        if options.table
        else [
            (entry, forms)
            for entry in chosen
            if (forms := [form for form in entry.forms if (entry.name, form) not in done])
        ]
    )
    running: dict[int, tuple[Entry, float]] = {}

    def failed(entry: Entry, why: str) -> None:
        known = read_results(options.folder)
        for form in entry.forms:
            if (entry.name, form) not in known or options.again:
                with open(options.folder / "results.jsonl", "a") as file:
                    file.write(
                        json.dumps(
                            {
                                "model": entry.name,
                                "form": form,
                                "size": entry.size,
                                "status": "harness",
                                "doubts": [why],
                            }
                        )
                        + "\n"
                    )
                return

    total = len(waiting)
    while waiting or running:
        while waiting and len(running) < options.parallel:
            entry, forms = waiting.pop(0)
            pid = os.fork()
            if pid == 0:
                os.setsid()
                code = 1
                try:
                    work(entry, forms, options.folder, options.keep)
                    code = 0
                finally:
                    os._exit(code)
            running[pid] = (entry, time.monotonic())
        time.sleep(0.3)
        for pid, (entry, started) in list(running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del running[pid]
                if status != 0:
                    failed(entry, f"its process ended with {status}")
                print(
                    f"{total - len(waiting) - len(running)}/{total} {entry.name} {time.monotonic() - started:.0f} s",
                    flush=True,
                )
                continue
            try:
                size = anonymous_megabytes(os.getpgid(pid))
            except ProcessLookupError:
                continue
            late = time.monotonic() - started > SECONDS
            if (late or size > MEGABYTES) and os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                del running[pid]
                failed(entry, f"took more than {SECONDS} s" if late else f"took {size:.0f} MB")

    if is_programs:
        from table_pt2 import write_programs

        write_programs(read_results(options.folder), ROOT / "docs")
    else:
        from table import write_table

        write_table(read_results(options.folder), ROOT / "docs" / "zoo.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())

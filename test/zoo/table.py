"""The zoo's results as a page: docs/zoo.md."""

import re
from collections import defaultdict
from pathlib import Path

HEAD = """# The zoo

{models} models of timm, torchvision and Hugging Face, {archives} archives. Each is the library's own class, small \
where its options allow it, with
random weights of which none hides anything (no zero bias, no unit scale), exported by `torch.jit.trace` or \
`torch.jit.script`, and
answered by sightline and by PyTorch with hooks and autograd ([test/zoo](../test/zoo)). A number is the largest \
difference of all that
was compared, as a share of the largest value. More than 1e-4 is WRONG, unless PyTorch's own float32 is as far from \
its float64.

```sh
SIGHTLINE_PYTHON=.venv/bin/python npm run zoo                          # all; what is done is not done again
SIGHTLINE_PYTHON=.venv/bin/python npm run zoo -- --only 'timm/vit*' --again
```

{versions}

| | archives |
|---|---|
{counts}

- **scores**: logits of two images. **features**: every node whose module PyTorch has, in `( )` how many.
- **attention**: probabilities and their gradients, in `( )` how many of the softmaxes that PyTorch computes.
- **Grad-CAM**: at the default target layer, signed and as the method gives it.
- **rollout, GAE**: attention rollout, gradient rollout and GAE. `–`: no attention, or refused for a reason that \
stands below the table.

| model | export | scores | features | attention | Grad-CAM | its layer | rollout, GAE |
|---|---|---|---|---|---|---|---|
{rows}

## Not right yet

{wrong}

## Refused

{refused}
"""


def figure(values: list[float]) -> str:
    return f"{max(values):.0e}" if values else "–"


def cells(result: dict) -> list[str]:
    right, wrong = result.get("right", {}), result.get("wrong", [])
    broken = set(result.get("errors", {}))

    def cell(belongs, more: str = "") -> str:
        if any(belongs(text) for text in wrong):
            return "**WRONG**"
        if any(belongs(text) for text in broken):
            return "**fails**"
        values = [value for name, value in right.items() if belongs(name)]
        return figure(values) + (f" {more}" if more and values else "")

    matched, all_ = len(result.get("read", {})), result.get("softmaxes", 0)
    attention = (
        cell(lambda name: name.startswith("attention ")) if matched else ("–" if all_ == 0 else f"– (0 of {all_})")
    )
    if matched and "WRONG" not in attention:
        attention += f" ({matched} of {all_})"
    layer = result.get("targetLayer") or ""
    return [
        cell(lambda name: name.startswith("logits") or name == "scores"),
        cell(lambda name: name.startswith("feature"), f"({result.get('compared', 0)})"),
        attention,
        cell(lambda name: name.startswith("grad-cam")),
        f"`{layer}`" if layer else "–",
        cell(lambda name: name.startswith(("attention-rollout", "gradient-rollout", "gae"))),
    ]


def row_of(model: str, form: str, result: dict) -> str:
    if result["status"] == "refused":
        return f"| {model} | {form} | refused | | | | | |"
    if result["status"] in ("no export", "harness", "crash"):
        why = {"no export": "PyTorch cannot export it", "harness": "not compared", "crash": "**crash**"}
        return f"| {model} | {form} | {why[result['status']]} | | | | | |"
    return f"| {model} | {form} | {' | '.join(cells(result))} |"


def reasons(results: dict[tuple[str, str], dict]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for (model, form), result in results.items():
        if result["status"] == "refused":
            message = result["errors"]["load"]["message"]
            # The file's path, and numbers that TorchScript puts into names, are of this run alone.
            reason = re.sub(r"\.___torch_mangle_\d+", "", re.split(r"\.pt2? ", message, maxsplit=1)[-1])
            file = "program" if form.startswith("exported") else "archive"
            found[f"the {file} {reason.partition('; load it')[0]}"].add(model)
        for method, reason in result.get("refused", {}).items():
            if reason != "it has no attention":
                found[f"{'Grad-CAM' if method == 'grad-cam' else 'rollout and GAE'}: {reason}"].add(model)
    return {reason: sorted(models) for reason, models in sorted(found.items(), key=lambda item: -len(item[1]))}


def faults(results: dict[tuple[str, str], dict]) -> list[str]:
    found = []
    for (model, form), result in sorted(results.items()):
        remarks = [
            *result.get("wrong", []),
            *(
                f"{name}: {error['code']}, {error['message']}"
                for name, error in result.get("errors", {}).items()
                if result["status"] != "refused"
            ),
        ]
        remarks += [
            doubt
            for doubt in result.get("doubts", [])
            if doubt.startswith("the target layer") or "heads, the module has" in doubt
        ]
        if remarks:
            rest = f"; and {len(remarks) - 3} more" if len(remarks) > 3 else ""
            found.append(f"- {model}, {form}: {'; '.join(remarks[:3])}{rest}.")
    return found


LABELS = {
    "right": "right",
    "wrong": "WRONG",
    "error": "right where it answers, and fails elsewhere",
    "refused": "refused as a whole",
    "no export": "PyTorch cannot export it",
    "harness": "not compared",
    "crash": "crashed",
}


def write_table(results: dict[tuple[str, str], dict], path: Path) -> None:
    import timm
    import torch
    import torchvision
    import transformers

    exported = {key: result for key, result in results.items() if result["status"] not in ("no export", "harness")}
    counts = [
        f"| {label} | {count} |"
        for status, label in LABELS.items()
        if (count := sum(result["status"] == status for result in results.values()))
    ]
    ordered = sorted(results.items())
    # Exports of a model that are alike stand in one row.
    rows, at = [], 0
    while at < len(ordered):
        (model, form), result = ordered[at]
        forms, end = [form], at + 1
        while (
            end < len(ordered)
            and ordered[end][0][0] == model
            and row_of(model, "", ordered[end][1]) == row_of(model, "", result)
        ):
            forms.append(ordered[end][0][1])
            end += 1
        rows.append(row_of(model, ", ".join(forms), result))
        at = end
    refused = [f"- {reason}: {', '.join(models)}." for reason, models in reasons(results).items()]
    versions = (
        f"Measured with torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__} "
        f"and transformers {transformers.__version__}, on one thread."
    )
    path.write_text(
        HEAD.format(
            models=len({model for model, _ in exported}),
            archives=len(exported),
            versions=versions,
            counts="\n".join(counts),
            rows="\n".join(rows),
            wrong="\n".join(faults(results)) or "Nothing.",
            refused="\n".join(refused),
        )
    )

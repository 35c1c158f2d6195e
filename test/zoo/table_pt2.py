"""The zoo's results of programs as a page, and where they differ from archives' in docs/zoo.md: docs/zoo-pt2.md."""

import re
from pathlib import Path

from table import LABELS, faults, reasons, row_of

HEAD = """# The zoo as programs of torch.export

{models} models of [the zoo](zoo.md), exported by `torch.export` in place of `torch.jit`: {programs} programs \
(`.pt2`), with the same weights and
the same comparison with PyTorch. `exported-eager` is Hugging Face's attention without the fused operator.

```sh
SIGHTLINE_PYTHON=.venv/bin/python npm run zoo -- --format pt2          # all; what is done is not done again
```

{versions}

| | programs |
|---|---|
{counts}

The columns are those of [the zoo](zoo.md).

| model | export | scores | features | attention | Grad-CAM | its layer | rollout, GAE |
|---|---|---|---|---|---|---|---|
{rows}

## Where the two formats differ

Beside the traced archive of the same model, as its table has it. Nodes that the program alone has are left out.

{differences}

## Exported for one image

Their batch cannot be left open, so sightline runs images one by one: {fixed}.

## Not right yet

{wrong}

## Refused

{refused}
"""

COLUMNS = ("scores", "features", "attention", "Grad-CAM", "its layer", "rollout, GAE")
FIXED = "exported for one image"


def read_rows(page: str) -> dict[tuple[str, str], list[str]]:
    """Cells of the table, by model and form."""
    found = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 2 + len(COLUMNS) and "/" in cells[0]:
            for form in cells[1].split(", "):
                found[(cells[0], form)] = cells[2:]
    return found


def kind(column: str, cell: str) -> str:
    """What of a cell is no rounding."""
    if column == "its layer":
        return cell
    if re.match(r"\d", cell):
        return cell.partition(" ")[2] if column == "attention" else "compared"
    return cell


def fewer(program: str, archive: str) -> bool:
    counts = [re.search(r"\((\d+)\)", cell) for cell in (program, archive)]
    return None not in counts and int(counts[0][1]) < int(counts[1][1])


def differences(results: dict[tuple[str, str], dict], archives: dict[tuple[str, str], list[str]]) -> list[str]:
    found = []
    for (model, form), result in sorted(results.items()):
        other = archives.get((model, form.replace("exported", "traced")))
        if other is None:
            continue
        own = [cell.strip() for cell in row_of(model, form, result).strip("|").split("|")][2:]
        if kind("scores", own[0]) != kind("scores", other[0]):
            found.append(f"- {model}, {form}: {own[0]}; the archive: {other[0]}.")
            continue
        said = [
            f"{column} {mine}; the archive: {its}"
            for column, mine, its in zip(COLUMNS[1:], own[1:], other[1:], strict=True)
            if kind(column, mine) != kind(column, its) or (column == "features" and fewer(mine, its))
        ]
        if said:
            found.append(f"- {model}, {form}: {'. '.join(said)}.")
    return found


def write_programs(results: dict[tuple[str, str], dict], docs: Path) -> None:
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
    fixed = sorted(
        {model for (model, _), result in exported.items() if any(FIXED in doubt for doubt in result["doubts"])}
    )
    refused = [f"- {reason}: {', '.join(models)}." for reason, models in reasons(results).items()]
    versions = (
        f"Measured with torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__} "
        f"and transformers {transformers.__version__}, on one thread."
    )
    differing = differences(exported, read_rows((docs / "zoo.md").read_text()))
    (docs / "zoo-pt2.md").write_text(
        HEAD.format(
            models=len({model for model, _ in exported}),
            programs=len(exported),
            versions=versions,
            counts="\n".join(counts),
            rows="\n".join(row_of(model, form, result) for (model, form), result in sorted(results.items())),
            differences="\n".join(differing) or "Nowhere.",
            fixed=", ".join(fixed) or "none",
            wrong="\n".join(faults(results)) or "Nothing.",
            refused="\n".join(refused) or "Nothing.",
        )
    )

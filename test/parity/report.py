"""Writes the measured differences into README.md, between its two markers."""

from pathlib import Path

BEGIN, END = "<!-- measured: written by make.py -->", "<!-- end of measured -->"
COLUMNS = (
    "archive logits",
    "float64",
    "library attention",
    "seed rollout",
    "notebook GAE",
    "pytorch-grad-cam",
    "torch-cam CAM",
)


def write_report(readme: Path, rows: dict[str, dict[str, float]], versions: dict[str, str]) -> None:
    lines = [
        "Largest absolute differences, measured with " + ", ".join(f"{k} {v}" for k, v in versions.items()) + ".",
        "",
        "| export | " + " | ".join(COLUMNS) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    for name, found in rows.items():
        assert found.keys() <= set(COLUMNS)
        lines.append(f"| {name} | " + " | ".join(f"{found[c]:.0e}" if c in found else "·" for c in COLUMNS) + " |")
    text = readme.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}")

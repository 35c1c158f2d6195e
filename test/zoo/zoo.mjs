/** `npm run zoo`: runs zoo.py by the Python of SIGHTLINE_PYTHON, else python3, and ends as it does. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const python = process.env['SIGHTLINE_PYTHON'] ?? 'python3';
// Without importing them, which takes long.
const needs = spawnSync(
  python,
  [
    '-c',
    'from importlib.metadata import version\nfor name in ("torch", "torchvision", "timm", "transformers"): version(name)',
  ],
  { stdio: 'ignore' },
);
if (needs.status !== 0) {
  console.error(
    `${python} has not torch, torchvision, timm and transformers: run "python3 -m venv .venv && .venv/bin/pip install -r models/requirements.txt" and set SIGHTLINE_PYTHON=.venv/bin/python.`,
  );
  process.exit(2);
}
const run = spawnSync(
  python,
  ['-W', 'ignore', fileURLToPath(new URL('zoo.py', import.meta.url)), ...process.argv.slice(2)],
  { stdio: 'inherit' },
);
process.exit(run.status ?? 1);

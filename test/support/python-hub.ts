import { execFile, execFileSync } from 'node:child_process';
import { join } from 'node:path';

/** Where a Python with huggingface_hub may be: the active environment first, as the set-up looks for LibTorch. */
function candidates(): string[] {
  const active = process.env['VIRTUAL_ENV'];
  return [...(active === undefined ? [] : [join(active, 'bin', 'python')]), 'python3', 'python'];
}

/** A Python that has huggingface_hub, or null; with what to say where a test is skipped for want of one. */
export function findPythonHub(): string | null {
  for (const python of candidates()) {
    try {
      execFileSync(python, ['-c', 'import huggingface_hub'], { stdio: 'ignore' });
      return python;
    } catch {
      continue;
    }
  }
  return null;
}

export const NO_PYTHON_HUB = 'needs a Python with huggingface_hub: pip install huggingface_hub';

/** Runs a script that prints one JSON document. Not synchronous: the hub that it asks may live in this process. */
export function runPython<T>(python: string, script: string, environment: Readonly<Record<string, string>>): Promise<T> {
  // huggingface_hub takes a variable that is set to nothing at its word.
  const env = Object.fromEntries(Object.entries({ ...process.env, ...environment }).filter(([, value]) => value !== ''));
  return new Promise((resolve, reject) => {
    execFile(python, ['-c', script], { env }, (error, stdout, stderr) => {
      if (error !== null) reject(new Error(`${error.message}\n${stderr}`));
      else resolve(JSON.parse(stdout) as T);
    });
  });
}

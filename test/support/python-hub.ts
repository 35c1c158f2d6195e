import { execFile, spawnSync } from 'node:child_process';

/**
 * A Python with huggingface_hub: SIGHTLINE_PYTHON, else python3. Null where there is none; one line then says how to
 * get it. What models/requirements.txt installs has it too, as transformers needs it.
 */
export function findPythonHub(): string | null {
  const named = process.env['SIGHTLINE_PYTHON'];
  const python = named ?? 'python3';
  if (spawnSync(python, ['-c', 'import huggingface_hub'], { stdio: 'ignore' }).status === 0) return python;
  if (named !== undefined) throw new Error(`SIGHTLINE_PYTHON: ${python} has no huggingface_hub.`);
  console.log(
    'Not read back with Python: python3 has no huggingface_hub. Run "python3 -m venv .venv && .venv/bin/pip install huggingface_hub" and set SIGHTLINE_PYTHON=.venv/bin/python.',
  );
  return null;
}

/** Runs a script that prints one JSON document. Not synchronous: the hub that it asks may live in this process. */
export function runPython<T>(
  python: string,
  script: string,
  environment: Readonly<Record<string, string>>,
): Promise<T> {
  // huggingface_hub takes a variable that is set to nothing at its word.
  const env = Object.fromEntries(
    Object.entries({ ...process.env, ...environment }).filter(([, value]) => value !== ''),
  );
  return new Promise((resolve, reject) => {
    execFile(python, ['-c', script], { env }, (error, stdout, stderr) => {
      if (error !== null) reject(new Error(`${error.message}\n${stderr}`));
      else resolve(JSON.parse(stdout) as T);
    });
  });
}

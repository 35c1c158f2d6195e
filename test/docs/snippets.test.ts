import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';

import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { useBuiltCommand, MAIN, ROOT } from '../cli/command.js';

/** Pages whose every program runs here, as it stands there. */
const PAGES = ['detectors-and-masks', 'coming-from'];
/** Languages of blocks that are ours to run; of `sh` those that run sightline. */
const RUN = ['ts', 'sh'];

interface Snippet {
  readonly where: string;
  readonly language: string;
  readonly code: string;
}

function snippetsOf(page: string): Snippet[] {
  const text = readFileSync(path.join(ROOT, 'docs', `${page}.md`), 'utf8');
  return [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].flatMap(({ 1: language, 2: code, index }) => {
    const line = text.slice(0, index).split('\n').length + 1;
    if (!RUN.includes(language!) || (language === 'sh' && !code!.includes('npx sightline'))) return [];
    return [{ where: `docs/${page}.md:${line}`, language: language!, code: code! }];
  });
}

/** Where programs find the models and pictures that pages speak of. Within the package, which they name as users do. */
let folder: string;
useBuiltCommand();
beforeAll(() => {
  mkdirSync(path.join(ROOT, 'build'), { recursive: true });
  folder = mkdtempSync(path.join(ROOT, 'build', 'snippets-'));
  const model = (name: string, from: string, card: string): void => {
    copyFileSync(path.join(ROOT, `${from}.pt`), path.join(folder, `${name}.pt`));
    writeFileSync(path.join(folder, `${name}.json`), card);
  };
  const card = (width: number, height: number, more: object): string =>
    JSON.stringify({
      name: 'snippet',
      input: {
        width,
        height,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        resize: { mode: 'exact', size: [width, height] },
        interpolation: 'bilinear',
        crop: 'none',
      },
      ...more,
    });
  for (const [name, from] of [
    ['resnet', 'resnet-tiny-shapes'],
    ['vit', 'vit-tiny-shapes'],
  ] as const) {
    const own = JSON.parse(readFileSync(path.join(ROOT, 'models', `${from}.json`), 'utf8')) as object;
    model(name, `models/${from}`, JSON.stringify({ ...own, archive: undefined }));
  }
  model(
    'segmenter',
    'test/parity/methods/dense-masks',
    card(32, 24, { labels: ['ground', 'cat', 'dog', 'sofa', 'lamp'] }),
  );
  model(
    'detector',
    'test/parity/methods/dense-detector',
    card(16, 16, {
      labels: ['cat', 'dog', 'lamp'],
      dense: { kind: 'boxes', values: 'first', place: 'center', objectness: false },
    }),
  );
  for (const name of ['photo.jpg']) {
    copyFileSync(path.join(ROOT, 'models/demo/photos/cat.jpg'), path.join(folder, name));
  }
  // As a process of its own, so that one in the background can be ended.
  mkdirSync(path.join(folder, 'bin'));
  const command = `#!/bin/sh\nshift\nexec '${process.execPath}' '${MAIN}' "$@"\n`;
  writeFileSync(path.join(folder, 'bin', 'npx'), command, { mode: 0o755 });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A port of this machine that nothing listens at. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

function run(file: string, args: readonly string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const env = { ...process.env, PATH: `${path.join(folder, 'bin')}:${process.env['PATH']}` };
    execFile(file, args, { cwd: folder, timeout: 300_000, env }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : 1, output: stdout + stderr }),
    );
  });
}

async function runSnippet({ where, language, code }: Snippet): Promise<{ code: number; output: string }> {
  const name = where.replace(/\W+/g, '-');
  if (language === 'ts') {
    const { outputText } = ts.transpileModule(code, {
      compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
    });
    const file = path.join(folder, `${name}.mjs`);
    writeFileSync(file, outputText);
    return run(process.execPath, [file]);
  }
  // What the shell starts ends with it.
  const file = path.join(folder, `${name}.sh`);
  const port = String(await freePort());
  writeFileSync(
    file,
    ['set -e', "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT", code.replaceAll('8080', port)].join('\n'),
  );
  return run('bash', [file]);
}

describe.each(PAGES)('docs/%s.md', (page) => {
  const snippets = snippetsOf(page);
  it('has programs', () => expect(snippets.length).toBeGreaterThan(2));

  it.each(snippets)('$where', async (snippet) => {
    const { code, output } = await runSnippet(snippet);
    expect(code, output).toBe(0);
  });
});

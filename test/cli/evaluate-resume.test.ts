import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';

import { describe, expect, it } from 'vitest';

import { MAIN, ROOT, sightline, temporaryFolder, useBuiltCommand } from './command.js';

useBuiltCommand();

const EVAL = path.join(ROOT, 'models', 'eval');
const pictures = Array.from({ length: 3 }, (_, i) => path.join(EVAL, `00${i}.png`));
/** A quick method, whose figures are kept, and a slow one, which is interrupted. */
const asked = (out: string, slow = 'rise masks=300'): string[] => [
  ...['evaluate', ...pictures, '--model', 'resnet-tiny-shapes', '--device', 'cpu', '--threads', '1', '--out', out],
  ...['--method', 'grad-cam', '--method', slow, '--metric', 'sparseness', '--metric', 'deletion steps=2'],
];

/** Figures and curves agree but for the order in which a batch's numbers are added up. */
function closeTo(value: unknown): unknown {
  if (typeof value === 'number') return expect.closeTo(value, 4) as unknown;
  if (Array.isArray(value)) return value.map(closeTo);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, closeTo(each)]));
}

describe('evaluate --resume', () => {
  it('goes on after Ctrl-C to the file of an uninterrupted run, and refuses what would not be the same', async () => {
    const folder = temporaryFolder();
    const [out, whole] = [path.join(folder, 'figures.json'), path.join(folder, 'whole.json')];
    const journal = `${out}.journal`;
    const child = spawn(process.execPath, [MAIN, ...asked(out)], { stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
    const lines = (): number => (existsSync(journal) ? readFileSync(journal, 'utf8').split('\n').length - 1 : 0);
    while (lines() < 4 && child.exitCode === null) await setTimeout(20);
    child.kill('SIGINT');
    expect([await ended, stderr]).toEqual([
      130,
      `sightline: Interrupted; what was judged is in ${journal}, and the same command with --resume goes on from there.\n`,
    ]);
    expect(existsSync(out)).toBe(false);
    const kept = readFileSync(journal, 'utf8');

    const other = await sightline(...asked(out, 'rise masks=200'), '--resume');
    expect([other.code, other.stderr]).toEqual([2, expect.stringContaining('was begun with another --method')]);
    const silent = await sightline(...asked(out));
    expect([silent.code, silent.stderr]).toEqual([2, expect.stringContaining('go on with it by --resume')]);
    expect(readFileSync(journal, 'utf8')).toBe(kept);

    const [resumed, uninterrupted] = [await sightline(...asked(out), '--resume'), await sightline(...asked(whole))];
    expect([resumed.code, uninterrupted.code]).toEqual([0, 0]);
    expect(existsSync(journal)).toBe(false);
    expect(JSON.parse(readFileSync(out, 'utf8'))).toEqual(closeTo(JSON.parse(readFileSync(whole, 'utf8'))));
  });

  it('needs a file beside which figures are kept', async () => {
    const { code, stderr } = await sightline('evaluate', 'a.jpg', '--method', 'grad-cam', '--resume');
    expect([code, stderr]).toEqual([
      2,
      'sightline: --resume goes on from what lies beside --out or --html; name that file.\n',
    ]);
  });
});

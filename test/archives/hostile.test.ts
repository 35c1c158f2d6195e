import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { expectEnding, runChild, type Ending } from '../lifecycle/child.js';
import { hostileFiles } from './corpus.js';
import { forge } from './forge.js';
import { forgeProgram, hostilePrograms } from './program-corpus.js';

interface Report {
  readonly file: string;
  readonly code: string;
  readonly message: string;
  readonly name?: string;
  readonly milliseconds: number;
}

const CHILD = new URL('./children/load-each.mjs', import.meta.url);
const scratch = mkdtempSync(join(tmpdir(), 'sightline-hostile-'));
const folder = join(scratch, 'archives');
const canary = join(scratch, 'canary');
mkdirSync(folder);
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function write(name: string, bytes: Buffer): string {
  const file = join(folder, `${name}.pt`);
  writeFileSync(file, bytes);
  return file;
}

async function loadEach(
  options: object,
  files: readonly string[],
): Promise<{ ending: Ending; reports: readonly Report[] }> {
  const ending = await runChild(CHILD, { args: [JSON.stringify(options), ...files] });
  return { ending, reports: ending.reports as Report[] };
}

describe('hostile archives', () => {
  const corpus = [...hostileFiles(canary), ...hostilePrograms()].map((each, i) => ({
    ...each,
    file: write(`hostile-${i}`, each.bytes),
  }));
  let reports: ReadonlyMap<string, Report>;
  let ending: Ending;

  // One process opens them all: whatever crashes or hangs it is the file that it named last.
  beforeAll(async () => {
    const result = await loadEach(
      {},
      corpus.map(({ file }) => file),
    );
    ending = result.ending;
    reports = new Map(result.reports.map((report) => [report.file, report]));
  });

  it('leave the process that opens them alive, and write nothing', () => {
    const last = corpus.find(({ file }) => file === ending.stages.at(-1))?.what;
    expectEnding(ending);
    expect(reports.size, `the process ended at "${last}"`).toBe(corpus.length);
    expect(existsSync(canary)).toBe(false);
    expect(readdirSync(scratch)).toEqual(['archives']);
  });

  it.each(corpus)('$what: $code', ({ file, code, sentence }) => {
    const report = reports.get(file);
    expect(report).toMatchObject({ name: 'SightlineError', code });
    expect(report!.message).toMatch(sentence);
    expect(report!.message).toContain(file);
    expect(report!.message).not.toMatch(/\n|\u001b/);
    expect(report!.milliseconds).toBeLessThan(5000);
  });
});

describe('a program made by hand', () => {
  it('is loaded, and gives the scores that its numbers say', async () => {
    const { ending, reports } = await loadEach({}, [write('honest-program', forgeProgram())]);
    expectEnding(ending);
    expect(reports[0]).toMatchObject({ code: 'LOADED' });
  });
});

describe('trust', () => {
  it('lets an archive write, so that it is the filter which keeps it from doing so', async () => {
    const file = write(
      'trusted-save',
      forge({
        forward: `    _0 = torch.save(x, ${JSON.stringify(canary)})\n    return torch.matmul(torch.mean(x, [2, 3]), self.weight)`,
      }),
    );
    const { ending, reports } = await loadEach({ trust: true }, [file]);
    expectEnding(ending);
    expect(reports[0]).toMatchObject({ code: 'LOADED' });
    expect(existsSync(canary)).toBe(true);
    rmSync(canary);
  });

  it('does not let damage pass', async () => {
    const damaged = hostileFiles(canary).filter(({ what }) =>
      [
        'a tensor beyond its storage',
        'a name that is there twice',
        'a number for a tensor',
        'a wrong checksum of weights',
      ].includes(what),
    );
    const { reports } = await loadEach(
      { trust: true },
      damaged.map(({ bytes }, i) => write(`damaged-${i}`, bytes)),
    );
    expect(reports.map(({ code }) => code)).toEqual(damaged.map(() => 'UNTRUSTED_ARCHIVE'));
    for (const { message } of reports) expect(message).not.toContain('trust');
  });
});

describe('weights', () => {
  it('that are NaN or infinite are told', async () => {
    const [nan, infinite, sound] = [
      write('nan', forge({ weights: Float32Array.from({ length: 15 }, (_, i) => (i === 7 ? NaN : i)) })),
      write('infinite', forge({ weights: Float32Array.from({ length: 15 }, (_, i) => (i === 7 ? -Infinity : i)) })),
      write('sound', forge()),
    ];
    const { ending, reports } = await loadEach({}, [nan, infinite, sound]);
    expectEnding(ending);
    expect(reports.map(({ code }) => code)).toEqual(['LOADED', 'LOADED', 'LOADED']);
    expect(reports[0]!.message).toContain('There is NaN or an infinity in weight');
    expect(reports[1]!.message).toContain('There is NaN or an infinity in weight');
    expect(reports[2]!.message).not.toContain('NaN');
  });
});

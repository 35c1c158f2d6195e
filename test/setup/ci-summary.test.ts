import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Outcome, ROOT, runProgram, temporaryFolder } from './fixtures.js';

async function summarise(report: object | string, vitest = '0', engine = 'none'): Promise<Outcome & { last: string }> {
  const file = path.join(temporaryFolder(), 'report.json');
  writeFileSync(file, typeof report === 'string' ? report : JSON.stringify(report));
  const outcome = await runProgram(process.execPath, [path.join(ROOT, '.ci/summary.mjs'), file, vitest, engine]);
  return { ...outcome, last: outcome.stdout.trimEnd().split('\n').at(-1) ?? '' };
}

const report = (...statuses: string[]): object => ({
  numTotalTests: statuses.length,
  testResults: [{ name: 'a.test.ts', status: statuses.includes('failed') ? 'failed' : 'passed', assertionResults: statuses.map((status) => ({ status, fullName: `is ${status}` })) }],
});

describe('the last line of continuous integration', () => {
  it.each<[string, object | string, string, string, number, string]>([
    ['all passed', report('passed', 'passed'), '0', 'none', 0, '2 passed, 0 failed, 0 skipped'],
    ['with the engine tests', report('passed'), '0', '0', 0, '2 passed, 0 failed, 0 skipped'],
    ['one failed', report('passed', 'failed'), '1', 'none', 1, '1 passed, 1 failed, 0 skipped'],
    ['one skipped', report('passed', 'skipped'), '0', 'none', 1, '1 passed, 0 failed, 1 skipped'],
    ['one to do', report('passed', 'todo'), '0', 'none', 1, '1 passed, 0 failed, 1 skipped'],
    ['the engine tests failed', report('passed'), '0', '139', 1, '1 passed, 1 failed, 0 skipped'],
    ['a file that broke', { numTotalTests: 0, testResults: [{ name: 'a', status: 'failed', message: 'syntax', assertionResults: [] }] }, '1', 'none', 1, '0 passed, 2 failed, 0 skipped'],
    ['no test at all', { numTotalTests: 0, testResults: [] }, '0', 'none', 1, '0 passed, 1 failed, 0 skipped'],
    ['vitest crashed late', report('passed'), '134', 'none', 1, '1 passed, 1 failed, 0 skipped'],
    ['a torn report', '{"testResults":', '1', 'none', 1, '0 passed, 1 failed, 0 skipped'],
  ])('%s', async (_name, input, vitest, engine, code, last) => {
    expect(await summarise(input, vitest, engine)).toMatchObject({ code, last });
  });

  it('is of all runs together, and each must end well', async () => {
    const files = [report('passed', 'passed'), report('passed'), report('failed')].map((each, i) => {
      const file = path.join(temporaryFolder(), `${i}.json`);
      writeFileSync(file, JSON.stringify(each));
      return file;
    }) as [string, string, string];
    const of = async (...args: string[]): Promise<{ code: number | null; last: string | undefined }> => {
      const { code, stdout } = await runProgram(process.execPath, [path.join(ROOT, '.ci/summary.mjs'), ...args]);
      return { code, last: stdout.trimEnd().split('\n').at(-1) };
    };
    expect(await of(files[0], '0', '0', files[1], '0', 'none')).toEqual({ code: 0, last: '4 passed, 0 failed, 0 skipped' });
    // A failure of one run does not hide that another crashed.
    expect(await of(files[2], '1', '0', files[1], '134', '0')).toEqual({ code: 1, last: '3 passed, 2 failed, 0 skipped' });
    expect(await of(files[0], '0', '0', files[1], '0')).toMatchObject({ code: 1 });
    expect(await of()).toEqual({ code: 1, last: '0 passed, 1 failed, 0 skipped' });
  });
});

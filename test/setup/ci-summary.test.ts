import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Outcome, ROOT, runProgram, temporaryFolder } from './fixtures.js';

async function summary(...args: string[]): Promise<Outcome & { last: string }> {
  const outcome = await runProgram(process.execPath, [path.join(ROOT, '.ci/summary.mjs'), ...args]);
  return { ...outcome, last: outcome.stdout.trimEnd().split('\n').at(-1) ?? '' };
}

function written(report: object | string): string {
  const file = path.join(temporaryFolder(), 'report.json');
  writeFileSync(file, typeof report === 'string' ? report : JSON.stringify(report));
  return file;
}

const report = (...statuses: string[]): object => ({
  numTotalTests: statuses.length,
  testResults: [
    {
      name: 'a.test.ts',
      status: statuses.includes('failed') ? 'failed' : 'passed',
      assertionResults: statuses.map((status) => ({
        status,
        fullName: `is ${status}`,
        failureMessages: status === 'failed' ? ['expected 1 to be 2'] : [],
      })),
    },
  ],
});

describe('the last line of continuous integration', () => {
  it.each<[string, object | string, string, number, string]>([
    ['all passed', report('passed', 'passed'), '0', 0, '2 passed, 0 failed, 0 skipped'],
    ['one failed', report('passed', 'failed'), '1', 1, '1 passed, 1 failed, 0 skipped'],
    ['one skipped', report('passed', 'skipped'), '0', 1, '1 passed, 0 failed, 1 skipped'],
    ['one to do', report('passed', 'todo'), '0', 1, '1 passed, 0 failed, 1 skipped'],
    [
      'a file that broke',
      { numTotalTests: 0, testResults: [{ name: 'a', status: 'failed', message: 'syntax', assertionResults: [] }] },
      '1',
      1,
      '0 passed, 2 failed, 0 skipped',
    ],
    ['no test at all', { numTotalTests: 0, testResults: [] }, '0', 1, '0 passed, 1 failed, 0 skipped'],
    ['vitest crashed late', report('passed'), '134', 1, '1 passed, 1 failed, 0 skipped'],
    ['a torn report', '{"testResults":', '1', 1, '0 passed, 1 failed, 0 skipped'],
  ])('%s', async (_name, input, status, code, last) => {
    expect(await summary('vitest', written(input), status)).toMatchObject({ code, last });
  });

  it('tells at the end which tests failed, and why', async () => {
    const file = written(report('passed', 'failed'));
    const { stdout } = await summary('vitest', file, '1');
    expect(stdout).toContain(`failed (${file}): a.test.ts: is failed\n  expected 1 to be 2\n1 passed, 1 failed`);
  });

  it('counts a program of tests as one', async () => {
    const tests = ['vitest', written(report('passed')), '0'];
    const passed = { code: 0, last: '2 passed, 0 failed, 0 skipped' };
    expect(await summary(...tests, 'program', 'engine_tests', '0')).toMatchObject(passed);
    const failed = { code: 1, last: '1 passed, 1 failed, 0 skipped' };
    expect(await summary('program', 'engine_tests', '139', ...tests)).toMatchObject(failed);
  });

  it('is of all runs together, and each must end well', async () => {
    const [two, one, none] = [report('passed', 'passed'), report('passed'), report('failed')].map(written) as [
      string,
      string,
      string,
    ];
    const programs = ['program', 'engine_tests', '0', 'program', 'device_tests', '0'];
    const passed = { code: 0, last: '5 passed, 0 failed, 0 skipped' };
    expect(await summary('vitest', two, '0', ...programs, 'vitest', one, '0')).toMatchObject(passed);
    // A failure of one run does not hide that another crashed.
    const failed = { code: 1, last: '3 passed, 2 failed, 0 skipped' };
    expect(await summary('vitest', none, '1', ...programs, 'vitest', one, '134')).toMatchObject(failed);
    // A run that is cut short or not known is no run.
    expect(await summary('vitest', two, '0', 'vitest', one)).toMatchObject({ code: 1 });
    expect(await summary('vitest', two, '0', 'other', one, '0')).toMatchObject({ code: 1 });
    expect(await summary()).toMatchObject({ code: 1, last: '0 passed, 1 failed, 0 skipped' });
  });
});

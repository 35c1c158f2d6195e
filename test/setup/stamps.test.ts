import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { ownPlace } from '../../lib/setup/file-lock.mjs';
import { withLock } from '../../scripts/lock.mjs';
import { runModule, temporaryFolder, writeFiles } from './fixtures.js';

async function evaluate(text: string): Promise<unknown> {
  const outcome = await runModule(text, { env: { PATH: process.env['PATH'] ?? '' } });
  expect(outcome.stderr).toBe('');
  return JSON.parse(outcome.stdout);
}

const hash = (paths: string[], values: unknown[] = []): Promise<unknown> =>
  evaluate(
    `import { hashInputs } from '$lib/setup/stamps.mjs'; console.log(JSON.stringify(hashInputs(${JSON.stringify({ paths, values })})));`,
  );

describe('the hash of a step', () => {
  it('follows content, names and values, and not times', async () => {
    const folder = writeFiles(temporaryFolder(), { 'a/one.cc': '1', 'a/two.cc': '2', 'single.txt': '3' });
    const inputs = [path.join(folder, 'a'), path.join(folder, 'single.txt')];
    const first = await hash(inputs, ['x']);
    utimesSync(path.join(folder, 'a/one.cc'), 1, 1);
    expect(await hash(inputs, ['x'])).toBe(first);
    expect(await hash(inputs, ['y'])).not.toBe(first);

    writeFileSync(path.join(folder, 'a/one.cc'), '1 ');
    const edited = await hash(inputs, ['x']);
    expect(edited).not.toBe(first);
    writeFileSync(path.join(folder, 'a/one.cc'), '1');
    expect(await hash(inputs, ['x'])).toBe(first);

    renameSync(path.join(folder, 'a/two.cc'), path.join(folder, 'a/three.cc'));
    expect(await hash(inputs, ['x'])).not.toBe(first);
    rmSync(path.join(folder, 'single.txt'));
    expect(await hash([path.join(folder, 'single.txt')])).not.toBe(await hash([]));
  });

  it('tells where one file ends and the next begins', async () => {
    const left = writeFiles(temporaryFolder(), { a: 'xy', b: '' });
    const right = writeFiles(temporaryFolder(), { a: 'x', b: 'y' });
    expect(await hash([left])).not.toBe(await hash([right]));
  });
});

describe('a stamp', () => {
  it('is read back, and one that is absent, forgotten or torn counts as not done', async () => {
    const folder = temporaryFolder();
    const read = `console.log(JSON.stringify(new Stamps(${JSON.stringify(folder)}).read('native')));`;
    const open = `import { Stamps } from '$lib/setup/stamps.mjs'; const stamps = new Stamps(${JSON.stringify(folder)});`;
    expect(await evaluate(`${open} ${read}`)).toBeNull();
    expect(await evaluate(`${open} stamps.write('native', { a: 1 }); ${read}`)).toEqual({ a: 1 });
    writeFileSync(path.join(folder, 'native.json'), '{"a":');
    expect(await evaluate(`${open} ${read}`)).toBeNull();
    expect(await evaluate(`${open} stamps.write('native', { a: 1 }); stamps.forget('native'); ${read}`)).toBeNull();
  });
});

describe('the lock', () => {
  it('lets one set-up at a time through', async () => {
    const folder = temporaryFolder();
    const log = path.join(folder, 'log');
    // Whoever is first stays until the other two are about to ask as well, and a little longer.
    const text = `import { appendFileSync, readFileSync } from 'node:fs';
      import { setTimeout } from 'node:timers/promises';
      import { withLock } from '$scripts/lock.mjs';
      appendFileSync(${JSON.stringify(path.join(folder, 'started'))}, '.');
      await withLock(${JSON.stringify(path.join(folder, 'lock'))}, async () => {
        appendFileSync(${JSON.stringify(log)}, 'in ');
        while (readFileSync(${JSON.stringify(path.join(folder, 'started'))}).length < 3) await setTimeout(10);
        await setTimeout(400);
        appendFileSync(${JSON.stringify(log)}, 'out ');
      });`;
    const outcomes = await Promise.all([1, 2, 3].map(() => runModule(text)));
    expect(outcomes.map(({ code }) => code)).toEqual([0, 0, 0]);
    expect(readFileSync(log, 'utf8')).toBe('in out in out in out ');
    expect(
      outcomes.filter(({ stderr }) => stderr.includes('waiting for another set-up')).length,
    ).toBeGreaterThanOrEqual(1);
    expect(existsSync(path.join(folder, 'lock'))).toBe(false);
  });

  it('is taken over from a process that has died, and given up when its holder fails', async () => {
    const folder = temporaryFolder();
    const lock = path.join(folder, 'lock');
    const dead = await runModule('console.log(process.pid)');
    writeFileSync(lock, JSON.stringify({ pid: Number(dead.stdout), host: ownPlace(), id: 'dead' }));
    const outcome = await runModule(`import { withLock } from '$scripts/lock.mjs';
      await withLock(${JSON.stringify(lock)}, async () => console.log('in'));
      await withLock(${JSON.stringify(lock)}, async () => { throw new Error('no'); }).catch(() => console.log('failed'));`);
    expect(outcome).toMatchObject({ code: 0, stdout: 'in\nfailed\n', stderr: '' });
    expect(existsSync(lock)).toBe(false);
  });
});

describe('the lock of a process that has died', () => {
  it('goes to one of those that wait for it', async () => {
    const folder = temporaryFolder();
    const lock = path.join(folder, 'lock');
    const log = path.join(folder, 'log');
    const dead = await runModule('console.log(process.pid)');
    for (let round = 0; round < 5; round++) {
      writeFileSync(log, '');
      writeFileSync(lock, JSON.stringify({ pid: Number(dead.stdout), host: ownPlace(), id: 'dead' }));
      await Promise.all(
        Array.from({ length: 6 }, (_, i) =>
          withLock(lock, async () => {
            appendFileSync(log, 'in ');
            await sleep(5 + i);
            appendFileSync(log, 'out ');
          }),
        ),
      );
      expect(readFileSync(log, 'utf8')).toBe('in out '.repeat(6));
    }
  });

  it('is not taken from a container that shares the host name, by a process number that means nothing here', async () => {
    const lock = path.join(temporaryFolder(), 'lock');
    // No process has this number here; there it may.
    writeFileSync(
      lock,
      JSON.stringify({
        pid: 2 ** 30,
        host: ownPlace()
          .replace(/pid:\[\d+\]/, 'pid:[1]')
          .replace(/^[^ ]+$/, 'another'),
        id: 'theirs',
      }),
    );
    const work = vi.fn(() => Promise.resolve());
    const waiting = withLock(lock, work);
    await sleep(1000);
    expect(work).not.toHaveBeenCalled();
    rmSync(lock);
    await waiting;
    expect(work).toHaveBeenCalledOnce();
  });
});

describe('npm packages', () => {
  it('count as installed only when all that the lock file asks for is there in its version', async () => {
    const root = temporaryFolder();
    const installed = (packages: object): Promise<unknown> => {
      mkdirSync(path.join(root, 'node_modules'), { recursive: true });
      writeFileSync(path.join(root, 'node_modules/.package-lock.json'), JSON.stringify({ packages }));
      return ask();
    };
    const ask = (): Promise<unknown> =>
      evaluate(
        `import { arePackagesInstalled } from '$scripts/npm-packages.mjs'; console.log(JSON.stringify(arePackagesInstalled(${JSON.stringify(root)})));`,
      );
    writeFileSync(
      path.join(root, 'package-lock.json'),
      JSON.stringify({
        packages: {
          '': { version: '0.1.0' },
          'node_modules/a': { version: '1.0.0' },
          'node_modules/b': { version: '1.0.0', optional: true },
        },
      }),
    );
    expect(await ask()).toBe(false);
    expect(await installed({ 'node_modules/a': { version: '1.0.0' } })).toBe(true);
    expect(
      await installed({ 'node_modules/a': { version: '1.0.0' }, 'node_modules/extra': { version: '9.0.0' } }),
    ).toBe(true);
    expect(await installed({ 'node_modules/a': { version: '0.9.0' } })).toBe(false);
    expect(await installed({ 'node_modules/a': { version: '1.0.0' }, 'node_modules/b': { version: '2.0.0' } })).toBe(
      false,
    );
    expect(await installed({})).toBe(false);
  });
});

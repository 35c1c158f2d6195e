import { Worker } from 'node:worker_threads';

import { expect, it } from 'vitest';

import { getThreads, setThreads, versions } from '../../lib/index.js';

it('setThreads is read back', () => {
  const before = getThreads();
  expect(before).toBeGreaterThanOrEqual(1);
  for (const count of [1, 3, 1024, before]) {
    setThreads(count);
    expect(getThreads()).toBe(count);
    expect(versions().threads).toBe(count);
  }
});

it('is one number for all worker threads', async () => {
  setThreads(3);
  const built = new URL('../../dist/index.js', import.meta.url).href;
  const worker = new Worker(
    `import(${JSON.stringify(built)}).then(({ getThreads, setThreads }) => { const found = getThreads(); setThreads(2); require('node:worker_threads').parentPort.postMessage(found); });`,
    { eval: true },
  );
  const found = await new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  expect(found).toBe(3);
  expect(getThreads()).toBe(2);
  await worker.terminate();
});

it.each([[0], [-1], [1.5], [1025], [NaN], ['2'], [undefined], [null]])('setThreads refuses %j', (count) => {
  const before = getThreads();
  expect(() => {
    setThreads(count as number);
  }).toThrow(
    expect.objectContaining({
      code: 'INVALID_OPTION',
      message: expect.stringMatching(/^setThreads got .*; give a whole number from 1 to 1024\.$/) as string,
    }),
  );
  expect(getThreads()).toBe(before);
});

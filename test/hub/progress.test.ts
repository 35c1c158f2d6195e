import { expect, it } from 'vitest';

import { TransferProgress } from '../../lib/cli/transfer-progress.js';
import type { PullProgress } from '../../lib/hub/pull.js';
import type { Session } from '../../lib/cli/session.js';

function watch(isTerminal: boolean) {
  const lines: string[] = [];
  let now = 0;
  const session = { progress: (line: string) => lines.push(line) } as unknown as Session;
  const progress = new TransferProgress(
    session,
    isTerminal,
    (text) => lines.push(text),
    () => now,
  );
  const at = (seconds: number, state: Partial<PullProgress>): void => {
    now = 1000 * seconds;
    progress.update({ file: 'model.safetensors', done: 0, total: 100e6, resumed: 0, ...state });
  };
  return { lines, at };
}

it('shows a bar, the speed of the last seconds and the time left on a terminal', () => {
  const { lines, at } = watch(true);
  for (let tick = 0; tick <= 20; tick++) at(tick / 2, { done: tick * 1e6 });
  // From here on five times as fast: the speed is that of the last five seconds, not of the whole.
  for (let tick = 1; tick <= 12; tick++) at(10 + tick / 2, { done: 20e6 + tick * 5e6 });
  expect(lines[0]).toBe('  model.safetensors: [------------------------] 0 kB of 100.0 MB (0 %)');
  expect(lines[20]).toBe(
    '  model.safetensors: [####--------------------] 20.0 MB of 100.0 MB (20 %), 2.0 MB/s, 40 s left',
  );
  expect(lines.at(-1)).toBe(
    '  model.safetensors: [###################-----] 80.0 MB of 100.0 MB (80 %), 10.0 MB/s, 2 s left',
  );
});

it('counts no bytes that an earlier pull brought into the speed', () => {
  const { lines, at } = watch(true);
  at(0, { done: 90e6, resumed: 90e6 });
  at(1, { done: 91e6, resumed: 90e6 });
  expect(lines.at(-1)).toContain('1.0 MB/s, 9 s left');
});

it('counts no pause into the speed', () => {
  const { lines, at } = watch(true);
  at(0, { pause: 'another process fetches this file' });
  at(30, { done: 50e6, resumed: 50e6 });
  at(31, { done: 52e6, resumed: 50e6 });
  expect(lines.at(-1)).toContain('52.0 MB of 100.0 MB (52 %), 2.0 MB/s, 24 s left');
});

it('writes a plain line every few seconds elsewhere, and the end', () => {
  const { lines, at } = watch(false);
  for (let tick = 0; tick <= 100; tick++) at(tick / 8, { done: tick * 1e6 });
  expect(lines).toEqual([
    '  model.safetensors: 40.0 MB of 100.0 MB (40 %), 8.0 MB/s, 8 s left\n',
    '  model.safetensors: 80.0 MB of 100.0 MB (80 %), 8.0 MB/s, 3 s left\n',
    '  model.safetensors: 100.0 MB of 100.0 MB (100 %), 8.0 MB/s\n',
  ]);
});

it('tells a pause once, and passes over small files', () => {
  const { lines, at } = watch(false);
  at(0, { file: 'config.json', total: 900, done: 900 });
  at(1, { pause: 'another process fetches this file' });
  at(1.2, { pause: 'another process fetches this file' });
  expect(lines).toEqual(['  model.safetensors: 0 kB of 100.0 MB (0 %): another process fetches this file\n']);
});

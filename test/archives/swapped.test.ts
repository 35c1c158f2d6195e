import { readdirSync, readFileSync } from 'node:fs';
import { copyFile, mkdtemp, readdir, readFile, readlink, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { checkArchive } from '../../lib/archives/check.js';
import { Model } from '../../lib/index.js';
import { until } from '../concurrency/models.js';
import { forge } from './forge.js';

/** Whether this process has started another one that still runs. */
function hasChild(): boolean {
  const tasks = `/proc/${process.pid}/task`;
  return readdirSync(tasks).some((task) => readFileSync(`${tasks}/${task}/children`, 'utf8') !== '');
}

describe.skipIf(process.platform !== 'linux')(
  'an archive whose name is given to another file between check and load',
  () => {
    let folder: string;
    let path: string;
    let other: string;
    const image = { data: new Float32Array(3 * 32 * 32).fill(0.5), shape: [1, 3, 32, 32] };
    const options = { device: 'cpu', trust: true } as const;

    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), 'sightline-'));
      [path, other] = [join(folder, 'model.pt'), join(folder, 'other.pt')];
      await writeFile(path, forge());
      await writeFile(
        other,
        forge({ forward: '    return torch.neg(torch.matmul(torch.mean(x, [2, 3]), self.weight))' }),
      );
    });
    afterEach(() => rm(folder, { recursive: true }));

    it('is still there to be opened, until it is closed', async () => {
      const bytes = await readFile(path);
      const checked = await checkArchive(path);
      await rename(other, path);
      expect(await readFile(checked.source)).toEqual(bytes);
      await checked.close();
      expect(await readFile(path)).not.toEqual(bytes);
    });

    it('is the one that runs', async () => {
      const copy = join(folder, 'copy.pt');
      await copyFile(path, copy);
      const expected = await Model.load(copy, options);
      const { logits } = (await expected.predict(image))[0]!;
      await expected.close();

      // The process that tries it first takes its time.
      const loading = Model.load(path, { ...options, isolate: true });
      let isOpen = false;
      const looking = setInterval(() => {
        void openFiles().then((files) => (isOpen ||= files.includes(path) && hasChild()));
      }, 1);
      // It is opened before, too, to see of which form it is: the one that was checked stays open beside the process.
      await until('the archive to be tried', () => isOpen);
      clearInterval(looking);
      await rename(other, path);
      await using model = await loading;
      const { logits: found } = (await model.predict(image))[0]!;
      expect(found.data).toEqual(logits.data);
      expect(logits.data.some((value) => value !== 0)).toBe(true);
      // Nothing is left open.
      expect((await openFiles()).filter((file) => file.startsWith(folder))).toEqual([]);
    });
  },
);

/** What this process has open. */
async function openFiles(): Promise<string[]> {
  const numbers = await readdir('/proc/self/fd');
  return Promise.all(numbers.map((number) => readlink(`/proc/self/fd/${number}`).catch(() => '')));
}

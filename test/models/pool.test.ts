import { describe, expect, it } from 'vitest';

import { Model } from '../../lib/index.js';
import { DevicePool, namedDevices } from '../../lib/model/pool.js';

/** Work that ends when the test says so. */
function deferred(): { promise: Promise<string>; resolve: (value: string) => void; reject: (error: Error) => void } {
  let resolve!: (value: string) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<string>((yes, no) => ([resolve, reject] = [yes, no]));
  return { promise, resolve, reject };
}

const none = (): number => 0;
const poolOf = (count: number): DevicePool<number> =>
  new DevicePool(Array.from({ length: count }, (_, handle) => ({ handle, device: `cuda:${handle}` })));

describe('the devices that an option names', () => {
  it.each([
    ['auto', ['auto']],
    ['cpu', ['cpu']],
    ['cuda', ['cuda']],
    ['cuda:12', ['cuda:12']],
    ['cuda:all', ['cuda:0', 'cuda:1', 'cuda:2']],
    [
      ['cuda:2', 'cuda:0'],
      ['cuda:2', 'cuda:0'],
    ],
  ])('%s', (asked, expected) => {
    expect(namedDevices(asked, () => 3)).toEqual(expected);
  });

  it.each([
    ['gpu', "There is no device 'gpu'; use auto, cpu, cuda, cuda:N or cuda:all."],
    ['cuda:', "There is no device 'cuda:'; use auto, cpu, cuda, cuda:N or cuda:all."],
    ['cuda:0,cuda:1', "There is no device 'cuda:0,cuda:1'; use auto, cpu, cuda, cuda:N or cuda:all."],
    [[], "The list of devices is empty; name GPUs, such as ['cuda:0', 'cuda:1']."],
    [['cuda:0', 'cpu'], "A list of devices holds GPUs by number, such as 'cuda:0', and not 'cpu'."],
    [['cuda:0', 'cuda:1', 'cuda:0'], "The list of devices names 'cuda:0' twice; name each GPU once."],
  ])('%j is refused in one sentence', (asked, message) => {
    expect(() => namedDevices(asked, () => 2)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION', message }));
  });

  it("takes a third party's devices by their names, and no others", () => {
    const others = (): string[] => ['npu:0', 'npu:1'];
    expect(namedDevices('npu:1', none, others)).toEqual(['npu:1']);
    expect(namedDevices(['npu:1', 'npu:0'], none, others)).toEqual(['npu:1', 'npu:0']);
    for (const name of ['npu', 'npu:2', ['npu:0', 'npu:2']]) {
      expect(() => namedDevices(name, none, others)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
    }
    expect(namedDevices('cuda:1', none, () => expect.fail('asked'))).toEqual(['cuda:1']);
  });

  it('asks for the number of GPUs only where all are wanted, and has none to give without one', () => {
    expect(namedDevices('cuda', () => expect.fail('asked'))).toEqual(['cuda']);
    expect(() => namedDevices('cuda:all', none)).toThrow(expect.objectContaining({ code: 'DEVICE_UNAVAILABLE' }));
  });

  it('are refused by Model.load as well', async () => {
    const load = (device: unknown): Promise<Model> => Model.load('vit-tiny-shapes', { device: device as 'cpu' });
    await expect(load('gpu')).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    await expect(load(['cuda:0', 'cpu'])).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    await expect(load(7)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringMatching(/device: expected the name of a device/) as string,
    });
  });
});

describe('a pool', () => {
  it('gives work to the device with the fewest images, and to each in turn while they are equal', async () => {
    const pool = poolOf(3);
    const given: [number, number][] = [];
    const pending: ReturnType<typeof deferred>[] = [];
    const run = (images: number): Promise<string>[] => {
      const started: Promise<string>[] = [];
      pool.run(
        Array.from({ length: images }),
        4,
        (handle, items) => {
          given.push([handle, items.length]);
          return items.map(() => {
            const work = deferred();
            pending.push(work);
            return work.promise;
          });
        },
        started,
      );
      return started;
    };
    void run(1);
    void run(1);
    void run(3);
    expect(given).toEqual([
      [0, 1],
      [1, 1],
      [2, 3],
    ]);
    expect(pool.loads).toEqual([1, 1, 3]);
    void run(10);
    expect(given.slice(3)).toEqual([
      [0, 4],
      [1, 4],
      [2, 2],
    ]);
    expect(pool.loads).toEqual([5, 5, 5]);
    pending[1]!.resolve('');
    await pending[1]!.promise;
    expect(pool.loads).toEqual([5, 4, 5]);
    void run(1);
    expect(given.at(-1)).toEqual([1, 1]);
    // All equal again: the one whose last turn is longest ago.
    void run(1);
    expect(given.at(-1)).toEqual([0, 1]);
  });

  it('keeps the order of the items, whoever works on them and whenever they are done', async () => {
    const started: Promise<string>[] = [];
    poolOf(2).run(
      ['a', 'b', 'c', 'd', 'e'],
      2,
      (handle, items) =>
        items.map(async (item) => {
          await new Promise((resolve) => setTimeout(resolve, handle === 0 ? 15 : 1));
          return `${item}${handle}`;
        }),
      started,
    );
    expect(await Promise.all(started)).toEqual(['a0', 'b0', 'c1', 'd1', 'e0']);
  });

  it('counts work that fails as done, and work that is refused not at all', async () => {
    const pool = poolOf(2);
    const works = [deferred(), deferred()];
    const started: Promise<string>[] = [];
    let portions = 0;
    expect(() => {
      pool.run(
        [0, 1, 2],
        2,
        (_, items) => {
          if (++portions === 2) throw new Error('QUEUE_FULL');
          return items.map((item) => works[item]!.promise);
        },
        started,
      );
    }).toThrow('QUEUE_FULL');
    expect(started).toHaveLength(2);
    expect(pool.loads).toEqual([2, 0]);
    works[0]!.reject(new Error('no luck'));
    works[1]!.resolve('');
    await Promise.allSettled(started);
    expect(pool.loads).toEqual([0, 0]);
  });

  it('of one device gets everything in one portion', () => {
    const portions: number[] = [];
    poolOf(1).run(
      Array.from({ length: 100 }),
      8,
      (_, items) => (portions.push(items.length), items.map(() => Promise.resolve(''))),
      [],
    );
    expect(portions).toEqual([100]);
  });

  it('names its devices', () => {
    expect(poolOf(2).device).toBe('cuda:0,cuda:1');
  });
});

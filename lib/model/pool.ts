import { SightlineError } from '../support/errors.js';

/** One device of a pool, and the handle of what was loaded there. */
export interface Member<Handle> {
  readonly handle: Handle;
  readonly device: string;
}

const DEVICE = /^(?:auto|cpu|cuda(?::(?:all|\d{1,3}))?)$/;
const GPU = /^cuda:\d{1,3}$/;

/**
 * The devices that a `device` option names, each once: `cuda:all` and lists stand for several.
 *
 * @param asked such as 'auto', 'cpu', 'cuda', 'cuda:1', 'cuda:all', or ['cuda:0', 'cuda:1']
 * @param gpus how many CUDA GPUs there are; asked only where it matters
 * @param others the names of a third party's devices; asked only for names that are none of ours
 * @throws SightlineError INVALID_OPTION, DEVICE_UNAVAILABLE for `cuda:all` without a GPU
 */
export function namedDevices(
  asked: string | readonly string[],
  gpus: () => number,
  others: () => readonly string[] = () => [],
): string[] {
  if (typeof asked !== 'string') {
    const odd = asked.find((name) => !GPU.test(name) && !others().includes(name));
    if (asked.length === 0) {
      throw new SightlineError(
        'INVALID_OPTION',
        "The list of devices is empty; name GPUs, such as ['cuda:0', 'cuda:1'].",
      );
    }
    if (odd !== undefined) {
      throw new SightlineError(
        'INVALID_OPTION',
        `A list of devices holds GPUs by number, such as 'cuda:0', and not '${odd}'.`,
      );
    }
    const twice = asked.find((name, i) => asked.indexOf(name) !== i);
    if (twice !== undefined) {
      throw new SightlineError('INVALID_OPTION', `The list of devices names '${twice}' twice; name each GPU once.`);
    }
    return [...asked];
  }
  if (!DEVICE.test(asked) && !others().includes(asked)) {
    throw new SightlineError(
      'INVALID_OPTION',
      `There is no device '${asked}'; use auto, cpu, cuda, cuda:N or cuda:all.`,
    );
  }
  if (asked !== 'cuda:all') return [asked];
  const count = gpus();
  if (count === 0) {
    throw new SightlineError(
      'DEVICE_UNAVAILABLE',
      "Device 'cuda:all' was asked for, but this LibTorch finds no CUDA GPU; run `sightline doctor`, or use device 'auto' or 'cpu'.",
    );
  }
  return Array.from({ length: count }, (_, i) => `cuda:${i}`);
}

/**
 * The devices on which one model is loaded, and how many images each has waiting or running.
 *
 * Work goes to the device with the fewest; among equals to the one that got work longest ago.
 */
export class DevicePool<Handle> {
  private readonly load: number[];
  private readonly lastTurn: number[];
  private turn = 0;

  /** @param members at least one */
  constructor(readonly members: readonly Member<Handle>[]) {
    if (members.length === 0) throw new SightlineError('INTERNAL', 'A pool needs a device.');
    this.load = members.map(() => 0);
    this.lastTurn = members.map(() => 0);
  }

  /** Names of the devices: 'cuda:0,cuda:1'. */
  get device(): string {
    return this.members.map(({ device }) => device).join(',');
  }

  /** Images that wait or run on each device, in the order of `members`. */
  get loads(): readonly number[] {
    return [...this.load];
  }

  /**
   * Divides work over the devices and starts it.
   *
   * @param items one for each image
   * @param batch the most images that a device runs at once: work is divided into such portions
   * @param run starts a portion on a device, with a promise for each item; may throw, for want of room in the queue say
   * @param started gets the promises in the items' order, also those of the portions before one that throws
   */
  run<Item, Result>(
    items: readonly Item[],
    batch: number,
    run: (handle: Handle, items: readonly Item[]) => Promise<Result>[],
    started: Promise<Result>[],
  ): void {
    // With one device everything goes over together: one call, and one look of the engine's at the queue.
    const size = this.members.length === 1 ? items.length : batch;
    for (let start = 0; start < items.length; start += size) {
      const portion = items.slice(start, start + size);
      const chosen = this.choose();
      const promises = run(this.members[chosen]!.handle, portion);
      this.lastTurn[chosen] = ++this.turn;
      this.load[chosen]! += promises.length;
      const done = (): void => void this.load[chosen]!--;
      for (const promise of promises) promise.then(done, done);
      started.push(...promises);
    }
  }

  private choose(): number {
    let best = 0;
    for (let i = 1; i < this.members.length; i++) {
      if (
        this.load[i]! < this.load[best]! ||
        (this.load[i] === this.load[best] && this.lastTurn[i]! < this.lastTurn[best]!)
      ) {
        best = i;
      }
    }
    return best;
  }
}

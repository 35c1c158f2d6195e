// Waits that end by progress. How fast the machine is, and what else runs on it, decides nothing: work that is under
// way moves counters or takes processor time, however slowly, and what hangs does neither.

/** Without any progress for so long a wait has failed. Only what hangs gets here. */
export const PATIENCE_MS = 120_000;

/** So much processor time is work; the polling itself takes less than that within the patience. */
const WORK_MS = 2000;

/** More processor time than this, with nothing to show for it, is an endless loop. */
const LOOP_MS = 300_000;

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/**
 * Tells whether something has stopped: `isStuck` is to be asked again and again.
 *
 * @param counters what moves while there is progress, as text
 * @param processorMs the processor time that was used up to now, where it can be told
 */
export class Watch {
  #last = '';
  #used = 0;
  #usedAtLast = 0;
  #since = performance.now();

  constructor(counters, processorMs) {
    this.counters = counters;
    this.processorMs = processorMs;
  }

  isStuck() {
    const [now, used] = [this.counters(), this.processorMs()];
    if (now !== this.#last) [this.#last, this.#usedAtLast] = [now, used];
    else if (used - this.#used < WORK_MS) {
      return performance.now() - this.#since > PATIENCE_MS || used - this.#usedAtLast > LOOP_MS;
    }
    [this.#used, this.#since] = [used, performance.now()];
    return used - this.#usedAtLast > LOOP_MS;
  }
}

const ownProcessorMs = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

/** Waits for a condition as long as there is progress; a wait in vain says for what. */
export async function until(what, condition, counters = () => '') {
  const watch = new Watch(counters, ownProcessorMs);
  for (let polls = 0; !(await condition()); polls++) {
    if (watch.isStuck()) throw new Error(`Waited in vain for: ${what}`);
    // Often at first, since some states pass soon; seldom later, so that asking is no work.
    await pause(Math.min(20, 1 + polls / 100));
  }
}

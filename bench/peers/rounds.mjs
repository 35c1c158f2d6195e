/** Contestants in alternation: one run of each, then the next round. */
import { setTimeout as sleep } from 'node:timers/promises';

import { WorkerFailure } from './worker-process.mjs';

/**
 * @typedef {{ seconds: number, growth?: number | null, idleCpu?: number, idleSeconds?: number }} Run what one run took;
 * `growth` in bytes over what was resident before; `idleCpu` the CPU seconds that its process took in the `idleSeconds`
 * since its last run
 * @typedef {{ name: string, run: () => Promise<Run> }} Contestant
 * @typedef {{ name: string, seconds: number[], growth: number | null, idleShare: number, failure: string | null }}
 * Measured `growth` is the largest of all rounds; `idleShare` the largest share of one core that its process took while
 * it waited
 */

/**
 * Only one contestant runs at any time, and each round goes the other way round than the one before, so that nobody
 * always follows the same other (and finds its caches as that one left them). Who fails is left out from then on.
 *
 * @param {readonly Contestant[]} contestants @param {number} rounds
 * @param {{ settle?: number }} [timing] `settle`: milliseconds between two runs, in which OpenMP's
 * threads, which spin a little after each parallel region, go to sleep
 * @returns {Promise<Measured[]>} in the contestants' order
 */
export async function alternate(contestants, rounds, { settle = 30 } = {}) {
  const measured = contestants.map(({ name }) => ({
    name,
    seconds: /** @type {number[]} */ ([]),
    growth: /** @type {number | null} */ (null),
    idleShare: 0,
    failure: /** @type {string | null} */ (null),
  }));
  for (let round = 0; round < rounds; round++) {
    const order = contestants.map((_, i) => i);
    if (round % 2 === 1) order.reverse();
    for (const i of order) {
      const found = measured[i];
      if (found.failure !== null) continue;
      await sleep(settle);
      try {
        const { seconds, growth = null, idleCpu = 0, idleSeconds = 0 } = await contestants[i].run();
        if (!(seconds > 0)) {
          throw new WorkerFailure('nonsense', `${found.name} says that a run took ${seconds} s, which no run does.`);
        }
        found.seconds.push(seconds);
        if (growth !== null) found.growth = Math.max(found.growth ?? 0, growth);
        // A pause of milliseconds would count the few that threads spin after their work.
        if (idleSeconds >= 0.2) found.idleShare = Math.max(found.idleShare, idleCpu / idleSeconds);
      } catch (error) {
        if (!(error instanceof WorkerFailure)) throw error;
        found.failure = error.message;
      }
    }
  }
  return measured;
}

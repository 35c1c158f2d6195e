/**
 * How the set-up talks: one line when a step starts, one with its time when it is done, nothing for a step that was
 * done before.
 */

/**
 * @template T
 * @param {string} what
 * @param {() => Promise<T> | T} work
 * @returns {Promise<T>}
 */
export async function step(what, work) {
  const started = performance.now();
  console.error(`sightline: ${what} ...`);
  const result = await work();
  console.error(`sightline: ${what}, done in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  return result;
}

/**
 * Explains images in worker threads. The engine's threads are shared, so what this gains is JavaScript: its own work on
 * results.
 */
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { Model } from 'sightline';

/**
 * @param {string[]} images paths
 * @param {number} workers how many threads
 * @returns {Promise<{ image: string, label: string, mean: number }[]>} in the order of `images`
 */
export async function explainInWorkers(images, workers) {
  /** @type {{ image: string, label: string, mean: number }[]} */
  const results = [];
  let next = 0;
  const drain = async () => {
    const worker = new Worker(fileURLToPath(import.meta.url));
    const ended = once(worker, 'exit');
    try {
      while (next < images.length) {
        const at = next++;
        worker.postMessage(images[at]);
        const [answer] = await once(worker, 'message'); // rejects where the worker fails
        results[at] = answer;
      }
      worker.postMessage(null);
      await ended;
    } finally {
      await worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: workers }, drain));
  return results;
}

if (!isMainThread && parentPort !== null) {
  const port = parentPort;
  const model = await Model.load('resnet-tiny-shapes');
  const answer = async (/** @type {string | null} */ image) => {
    if (image === null) {
      await model.close();
      port.close();
      return;
    }
    const [explained] = await model.explain(image, { method: 'grad-cam' });
    const { data, target } = explained.maps[0];
    port.postMessage({ image, label: target.label, mean: data.reduce((sum, value) => sum + value, 0) / data.length });
  };
  // What fails ends the worker, and so rejects above.
  port.on('message', (/** @type {string | null} */ image) => void answer(image));
}

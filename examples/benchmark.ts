/** Measures methods of a model: how many times the plain forward pass does each take? */
import { bench } from 'sightline/bench';

export async function costOf(
  model: string,
  methods: readonly string[],
  rounds: number,
): Promise<Record<string, number>> {
  const { throughput } = await bench({ models: [model], methods, batches: [4], rounds, warmup: 1, devices: ['cpu'] });
  return Object.fromEntries(throughput.map(({ job, ratio }) => [job, ratio.median]));
}

/** Something that is measured again and again. */
export interface Job<Sample> {
  readonly name: string;
  /** Does it once. Must measure itself: what is timed differs between kinds of jobs. */
  readonly run: (isWarmUp: boolean) => Promise<Sample>;
}

export interface RoundSamples<Sample> {
  /** By the jobs' names: one sample of every round that counts, in their order. */
  readonly samples: ReadonlyMap<string, readonly Sample[]>;
  /** The very first run, which builds what the job needs. */
  readonly first: ReadonlyMap<string, Sample>;
}

/**
 * Runs jobs in turns: one run of each, then the next round, so that a slow minute of the machine slows all alike. The
 * warm-up rounds come first and are dropped.
 *
 * @param failed decides over a job that rejects: returns to drop the job, throws to give up. The first job is what the
 * others are compared with, so its failure always ends everything.
 */
export async function runInterleaved<Sample>(
  jobs: readonly Job<Sample>[],
  { warmup, rounds }: { readonly warmup: number; readonly rounds: number },
  hooks: {
    readonly failed: (job: Job<Sample>, error: unknown) => void;
    readonly round: (number: number, of: number) => void;
  },
): Promise<RoundSamples<Sample>> {
  const samples = new Map<string, Sample[]>(jobs.map(({ name }) => [name, []]));
  const first = new Map<string, Sample>();
  for (let round = 0; round < warmup + rounds; round++) {
    hooks.round(round + 1, warmup + rounds);
    for (const job of jobs) {
      const kept = samples.get(job.name);
      if (kept === undefined) continue;
      try {
        const sample = await job.run(round < warmup);
        if (!first.has(job.name)) first.set(job.name, sample);
        if (round >= warmup) kept.push(sample);
      } catch (error) {
        if (job === jobs[0]) throw error;
        hooks.failed(job, error);
        samples.delete(job.name);
      }
    }
  }
  return { samples, first };
}

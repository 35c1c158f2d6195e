import { readCheckpoint, verifyCheckpoint } from '../archives/checkpoint.js';
import type { TensorPart } from '../engine/weight-plan.js';
import { CHECKPOINT } from '../models/bundled.js';
import { readHeader } from '../weights/safetensors.js';

/** What the files of a checkpoint hold: safetensors, or those of torch.save. */
export interface CheckpointFiles {
  readonly files: readonly string[];
  /** Of each, by its tensors' names. */
  readonly headers: readonly ReadonlyMap<string, TensorPart>[];
  /** Sentences for the user. */
  readonly notes: readonly string[];
  /** Compares the numbers with their checksums, where the files have any. */
  readonly verify: () => Promise<void>;
}

/** @throws SightlineError FILE_NOT_FOUND, NOT_A_FILE, INVALID_WEIGHTS */
export async function readCheckpointFiles(files: readonly string[]): Promise<CheckpointFiles> {
  const saved = files.filter((file) => !isSafetensors(file));
  const read = await Promise.all(
    files.map(async (file, i) =>
      isSafetensors(file) ? { tensors: await readHeader(file, i), notes: [] } : readCheckpoint(file, i),
    ),
  );
  return {
    files,
    headers: read.map(({ tensors }) => tensors),
    notes: read.flatMap(({ notes }) => notes),
    verify: async () => {
      for (const file of saved) await verifyCheckpoint(file);
    },
  };
}

/** By its name: a file of the hub's cache has the name that the repository gives it. */
export function isSafetensors(file: string): boolean {
  return file.toLowerCase().endsWith(CHECKPOINT);
}

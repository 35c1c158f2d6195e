// The process that opens an archive first, for `isolate`: see archives/isolation.ts. It limits itself, loads the
// archive, looks through it and classifies one blank image, as Model.load does in the process that asked.
import { binding } from '../engine/binding.js';
import { SightlineError } from '../support/errors.js';
import { Model } from '../model/model.js';
import { NO_FENCE, type ProbeAnswer, type ProbeRequest } from '../archives/probe-messages.js';

const request = JSON.parse(process.argv[2] ?? '') as ProbeRequest;

async function answer(message: ProbeAnswer): Promise<void> {
  await new Promise((resolve) => process.send?.(message, resolve));
}

const fence = binding().fence(request.limits);
if (process.platform === 'linux' && !fence.memory) process.exit(NO_FENCE);
try {
  const { path, dtype, optimize, trust, maxArchiveBytes, input } = request;
  const model = await Model.load(path, {
    device: 'cpu',
    dtype,
    optimize,
    trust,
    maxArchiveBytes,
    ...(input !== null && { card: { name: 'probe', input } }),
  });
  await model.close();
  await answer({ kind: 'sound' });
} catch (error) {
  const { code, message } =
    error instanceof SightlineError
      ? error
      : { code: 'INTERNAL', message: error instanceof Error ? error.message : String(error) };
  await answer({ kind: 'refused', code, message });
}
process.exit(0);

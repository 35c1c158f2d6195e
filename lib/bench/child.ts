import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

import { abortedBy } from '../support/abort.js';
import { SightlineError, type ErrorCode } from '../support/errors.js';
import { forked, processNotStarted } from '../support/forked.js';
import type { ConfigurationRequest, Finding } from './configuration-request.js';
import type { RunnerMessage } from './runner-messages.js';

const RUNNER = fileURLToPath(new URL('../processes/bench-runner.js', import.meta.url));

/** Characters of the process's own complaints that are worth keeping. */
const KEPT_COMPLAINTS = 2000;

/**
 * Measures a configuration in a process of its own.
 *
 * @param measured is awaited once all is measured, while the process and its model's memory are still there
 * @throws SightlineError what the process reported; ABORTED; PROCESS_NOT_STARTED; OUT_OF_MEMORY where the system killed
 * it; INTERNAL
 */
export async function measureApart(
  request: ConfigurationRequest,
  {
    signal,
    tell,
    measured,
    runner = RUNNER,
  }: {
    readonly signal?: AbortSignal | undefined;
    readonly tell: (finding: Finding) => void;
    readonly measured: () => Promise<void>;
    readonly runner?: string;
  },
): Promise<void> {
  const aborted = (): SightlineError => abortedBy(signal, 'The benchmark was aborted.');
  if (signal?.aborted) throw aborted();
  const child = forked(notStarted, runner, [], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    serialization: 'advanced',
  });
  let complaints = '';
  child
    .stderr!.setEncoding('utf8')
    .on('data', (text: string) => (complaints = (complaints + text).slice(-KEPT_COMPLAINTS)));
  const abort = (): void => void child.kill('SIGTERM');
  signal?.addEventListener('abort', abort, { once: true });

  let isDone = false;
  let failure: unknown = null;
  let finishing: Promise<void> | null = null;
  child.on('message', (message) => {
    const finding = message as RunnerMessage;
    if (finding.kind === 'failed') {
      failure ??= new SightlineError(finding.code as ErrorCode, finding.message);
      child.disconnect();
    } else if (finding.kind === 'done') {
      isDone = true;
      finishing = measured()
        .catch((error: unknown) => (failure ??= error))
        .then(() => {
          if (child.connected) child.disconnect();
        });
    } else {
      tell(finding);
    }
  });
  try {
    // Not 'close', which never comes after a disconnect (Node 20.20): the end, and that its complaints are read.
    const ended = Promise.all([
      once(child, 'exit') as Promise<[number | null, string | null]>,
      once(child.stderr!, 'close'),
    ]);
    // A process that ended at once cannot be sent anything; its end is reported below.
    child.send(request, () => undefined);
    const [[code, signalName]] = await ended.catch((cause: unknown) => {
      throw notStarted(cause);
    });
    if (!isDone) failure ??= endedEarly(request, code, signalName, complaints);
    // eslint-disable-next-line @typescript-eslint/await-thenable -- set by a listener, which the compiler does not see
    await finishing;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
  if (signal?.aborted) throw aborted();
  if (failure !== null) throw failure;
}

const notStarted = (cause: unknown): SightlineError =>
  processNotStarted('The process that measures a configuration', '', cause);

function endedEarly(
  { model, device, dtype }: ConfigurationRequest,
  code: number | null,
  signal: string | null,
  complaints: string,
): SightlineError {
  const subject = `${model.label} on ${String(device)}, ${dtype}`;
  // What Linux does to the largest process when memory runs out.
  if (signal === 'SIGKILL') {
    return new SightlineError(
      'OUT_OF_MEMORY',
      `The process that measured ${subject} was killed, as a system does whose memory is used up; take smaller batches.`,
    );
  }
  const last = complaints.trim().split('\n').at(-1) ?? '';
  return new SightlineError(
    'INTERNAL',
    `The process that measured ${subject} ended by ${signal ?? `exit code ${String(code)}`}${last === '' ? '' : `: ${last}`}.`,
  );
}

/**
 * The process of one configuration: it gets its request as a message, and answers with findings. Apart from the
 * command's own process, since a process's memory never quite comes back from what ran in it before.
 */
import { SightlineError } from '../support/errors.js';
import { measureConfiguration } from '../bench/configuration.js';
import type { ConfigurationRequest } from '../bench/configuration-request.js';
import type { RunnerMessage } from '../bench/runner-messages.js';

function tell(message: RunnerMessage): void {
  process.send!(message);
}

// Ctrl-C reaches the whole group; the command, which gets it as well, decides.
process.on('SIGINT', () => undefined);
process.on('disconnect', () => process.exit());
process.once('message', (request: ConfigurationRequest) => {
  measureConfiguration(request, tell).then(
    () => tell({ kind: 'done' }),
    (error: unknown) => {
      const message = error instanceof Error ? error.message : String(error);
      tell({ kind: 'failed', code: error instanceof SightlineError ? error.code : 'INTERNAL', message });
    },
  );
});

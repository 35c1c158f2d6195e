import { Command } from 'commander';

import type * as Setup from '../../scripts/setup.mjs';
import { SightlineError } from '../errors.js';
import { withJsonFlag } from './options.js';
import { importScript } from './scripts.js';
import type { Session } from './session.js';

export function setupCommand(session: Session): Command {
  return withJsonFlag(new Command('setup'))
    .description('Find or fetch LibTorch and build the native engine against it, where that is still to do.')
    .addHelpText(
      'after',
      `
Examples:
  $ sightline setup
  $ LIBTORCH=/opt/libtorch sightline setup`,
    )
    .action(() => setup(session));
}

async function setup(session: Session): Promise<void> {
  const { setUpNative } = await importScript<typeof Setup>('setup.mjs');
  try {
    const libtorch = await setUpNative();
    session.answer({ libtorch });
    session.print(`The engine is ready, with LibTorch ${libtorch.version} in ${libtorch.root}.`);
  } catch (cause) {
    // Its failures are sentences that say how to mend them; anything else is a fault of ours.
    if (!(cause instanceof Error) || cause.name !== 'SetupError') throw cause;
    throw new SightlineError('NATIVE_MISSING', cause.message, { cause });
  }
}

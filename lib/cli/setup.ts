import { Command } from 'commander';

import type * as Setup from '../../scripts/setup.mjs';
import { SightlineError } from '../support/errors.js';
import { withJsonFlag } from './options.js';
import { importScript } from './scripts.js';
import type { Session } from './session.js';

export function setupCommand(session: Session): Command {
  return withJsonFlag(new Command('setup'))
    .description('Find or fetch LibTorch, and build the native engine where no prebuilt one fits it.')
    .option('--build', 'build the engine even where a prebuilt one fits: that adds CUDA graphs')
    .addHelpText(
      'after',
      `
Examples:
  $ sightline setup
  $ LIBTORCH=/opt/libtorch sightline setup`,
    )
    .action(({ build }: { build?: boolean }) => setup(session, build === true));
}

async function setup(session: Session, build: boolean): Promise<void> {
  const { setUpNative } = await importScript<typeof Setup>('setup.mjs');
  try {
    const { addon, libtorch } = await setUpNative({ build });
    session.answer({ libtorch, addon });
    session.print(
      `The engine is ready, with LibTorch ${libtorch.version} in ${libtorch.root}; the addon is ${addon.why}.`,
    );
  } catch (cause) {
    // Its failures are sentences that say how to repair them; anything else is a fault of ours.
    if (!(cause instanceof Error) || cause.name !== 'SetupError') throw cause;
    throw new SightlineError('NATIVE_MISSING', cause.message, { cause });
  }
}

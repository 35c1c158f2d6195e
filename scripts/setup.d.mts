import type { Choice } from '../lib/setup/addon.mjs';

/**
 * Finds or fetches a LibTorch, has an addon for it, building one where that is still to do, and says on stderr what it
 * does. `build`: even where a prebuilt one fits.
 * @throws an Error whose message is one sentence with the remedy
 */
export function setUpNative(options?: { env?: NodeJS.ProcessEnv; build?: boolean }): Promise<Choice>;

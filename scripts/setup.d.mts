import type { LibTorch } from './libtorch.mjs';

/**
 * Finds or fetches a LibTorch, builds the addon where that is still to do, and says on stderr what it does.
 * @throws an Error whose message is one sentence with the mend
 */
export function setUpNative(options?: { env?: NodeJS.ProcessEnv; fetch?: boolean }): Promise<LibTorch>;

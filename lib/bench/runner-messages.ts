import type { Finding } from './configuration-request.js';

/** What the process of one configuration says; `done` and `failed` come last. */
export type RunnerMessage =
  Finding | { readonly kind: 'done' } | { readonly kind: 'failed'; readonly code: string; readonly message: string };

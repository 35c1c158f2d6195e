import type { ModelInput } from '../models/card.js';

/** What the probe is told, as JSON in its one argument. */
export interface ProbeRequest {
  readonly path: string;
  readonly dtype: 'f32' | 'bf16' | 'f16';
  readonly optimize: boolean;
  readonly trust: boolean;
  readonly maxArchiveBytes: number;
  /** Of the card in force; null for none. */
  readonly input: ModelInput | null;
  readonly limits: { readonly addressBytes: number; readonly processorSeconds: number };
}

/** What it answers over its channel. */
export type ProbeAnswer =
  { readonly kind: 'sound' } | { readonly kind: 'refused'; readonly code: string; readonly message: string };

/** Exit code where the limit of memory could not be set, so nothing was opened. */
export const NO_FENCE = 97;

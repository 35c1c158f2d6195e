import { SightlineError, type ErrorCode } from '../support/errors.js';

/** An image that has no result, in the JSON answer. */
export interface ImageFailure {
  readonly image: string;
  readonly error: { readonly code: ErrorCode; readonly message: string };
}

const IMAGE_CODES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'FILE_NOT_FOUND',
  'NOT_A_FILE',
  'INVALID_IMAGE',
  'INVALID_INPUT',
]);

export function isAboutImage(error: unknown): error is SightlineError {
  return error instanceof SightlineError && IMAGE_CODES.has(error.code);
}

/**
 * The answers about several images. One bad image refuses its whole call, so the others are then asked about one by
 * one.
 *
 * @param failed is told of each bad image; it may throw
 */
export async function eachOrFailed<Named extends { readonly image: string }, Answer>(
  chunk: readonly Named[],
  ask: (some: readonly Named[]) => Promise<Answer[]>,
  failed: (image: string, error: unknown) => void,
): Promise<Answer[]> {
  try {
    return await ask(chunk);
  } catch (error) {
    if (!isAboutImage(error)) throw error;
    if (chunk.length === 1) {
      failed(chunk[0]!.image, error);
      return [];
    }
  }
  const all: Answer[] = [];
  for (const one of chunk) {
    all.push(
      ...(await ask([one]).catch((error: unknown) => {
        failed(one.image, error);
        return [];
      })),
    );
  }
  return all;
}

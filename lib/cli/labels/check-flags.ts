import { SightlineError } from '../../support/errors.js';

/**
 * Checks that pictures come from one place, and their classes too.
 *
 * @throws SightlineError INVALID_OPTION
 */
export function checkLabelFlags(
  images: readonly string[],
  { labels, target }: { readonly labels?: string; readonly target?: string },
): void {
  if ((labels === undefined) === (images.length === 0)) {
    throw new SightlineError(
      'INVALID_OPTION',
      labels === undefined
        ? 'Name pictures, or a file of them by --labels.'
        : '--labels names the pictures; leave the others out.',
    );
  }
  if (labels !== undefined && target !== undefined) {
    throw new SightlineError('INVALID_OPTION', 'The --labels file names the classes; leave --target out.');
  }
}

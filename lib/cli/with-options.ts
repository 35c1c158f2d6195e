import { SightlineError } from '../support/errors.js';
import { keyValue } from './options.js';

/**
 * `deletion steps=50` as { metric: 'deletion', steps: 50, label: 'deletion steps=50' }.
 *
 * @throws SightlineError INVALID_OPTION
 */
export function withOptions(text: string, kind: 'method' | 'metric'): Record<string, unknown> {
  const [name, ...options] = text.trim().split(/\s+/);
  let own: Record<string, unknown> = {};
  for (const option of options) {
    if (!option.includes('=')) {
      throw new SightlineError('INVALID_OPTION', `--${kind} "${text}": options are key=value, and "${option}" is not.`);
    }
    own = keyValue(option, own);
  }
  return { ...own, [kind]: name, ...(options.length > 0 && { label: text.trim() }) };
}

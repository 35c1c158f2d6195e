import { SightlineError } from '../support/errors.js';
import { parseExplainOptions } from '../requests/explain-options.js';

/** A method as it is measured. */
export interface MethodRequest {
  /** As it was asked for; names the method's lines in tables and plots. */
  readonly label: string;
  /** What `model.explain` takes. */
  readonly options: { readonly method: string } & Readonly<Record<string, unknown>>;
}

/**
 * `grad-cam`, or a method with options of `explain`: `grad-cam:layer=layer3`, `gae:targets=top10`,
 * `integrated-gradients:steps=50`. Values are JSON where they are JSON, else text.
 *
 * @throws SightlineError INVALID_OPTION
 */
export function parseMethodRequest(text: string): MethodRequest {
  const at = text.indexOf(':');
  const options: { method: string } & Record<string, unknown> = { method: at < 0 ? text : text.slice(0, at) };
  // A comma parts two options only where a key follows, so that lists such as [1,2] stay whole.
  for (const part of at < 0 ? [] : text.slice(at + 1).split(/,(?=\w+=)/)) {
    const [, key, value] = /^(\w+)=(.+)$/s.exec(part) ?? [];
    if (key === undefined || value === undefined) {
      throw new SightlineError(
        'INVALID_OPTION',
        `The method "${text}" has no key=value after its colon; write for example grad-cam:layer=layer3.`,
      );
    }
    if (key === 'method' || key === 'signal') {
      throw new SightlineError(
        'INVALID_OPTION',
        `The method "${text}" cannot set ${key}; name the method before the colon.`,
      );
    }
    const parsed = valueOf(value);
    options[key] = key === 'targets' && !Array.isArray(parsed) ? [parsed] : parsed;
  }
  // Refuses unknown methods and options before anything is loaded.
  parseExplainOptions(options);
  return { label: text, options };
}

function valueOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** Longer texts of a user's are cut in messages: a data URL can have megabytes. */
const MOST = 200;

/** A text as messages repeat it: its beginning, and how long it is where that is not all. */
export function cut(text: string, most = MOST): string {
  return text.length <= most ? text : `${text.slice(0, most)}... (${text.length.toLocaleString('en-US')} characters)`;
}

/** Any value as messages repeat it; never throws. */
export function shown(value: unknown): string {
  if (typeof value === 'bigint') return `${cut(String(value))}n`;
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'symbol') return 'a symbol';
  if (typeof value !== 'object' || value === null) {
    return typeof value === 'string' ? JSON.stringify(cut(value)) : String(value);
  }
  try {
    return cut(JSON.stringify(value) ?? 'an object');
  } catch {
    // A circle, a BigInt within, or a toJSON that throws.
    return Array.isArray(value) ? 'a list' : 'an object';
  }
}

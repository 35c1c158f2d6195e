/**
 * The first key that an object of a JSON text has twice, null where none has. `JSON.parse` keeps the last and says
 * nothing, and readers differ in which they keep: a file could then be checked as one thing and loaded as another.
 *
 * @param text of which `JSON.parse` has been found to take it
 */
export function duplicateKey(text: string): string | null {
  const open: (Set<string> | null)[] = [];
  let isKey = false;
  for (let i = 0; i < text.length; i++) {
    switch (text[i]) {
      case '{':
        open.push(new Set());
        isKey = true;
        break;
      case '[':
        open.push(null);
        isKey = false;
        break;
      case '}':
      case ']':
        open.pop();
        isKey = false;
        break;
      case ',':
        isKey = open.at(-1) instanceof Set;
        break;
      case ':':
        isKey = false;
        break;
      case '"': {
        const start = i;
        for (i++; text[i] !== '"'; i++) if (text[i] === '\\') i++;
        if (!isKey) break;
        // Parsed, since "\u0061" and "a" are one key.
        const key = JSON.parse(text.slice(start, i + 1)) as string;
        const keys = open.at(-1)!;
        if (keys.has(key)) return key;
        keys.add(key);
        break;
      }
      default: // the rest of a number, a word or a blank
    }
  }
  return null;
}

/** Whether a parsed value is `{ ... }`. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

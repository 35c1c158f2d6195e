import { createHash } from 'node:crypto';

const identities = new WeakMap<object, number>();
let last = 0;

/** A number of an object's own: two objects never have the same. */
export function identityOf(object: object): number {
  let identity = identities.get(object);
  if (identity === undefined) identities.set(object, (identity = ++last));
  return identity;
}

/**
 * A text that equal settings share and different ones do not; null where that is unknown, as of a class instance,
 * whose contents may change unseen. Unlike in JSON, NaN, infinities, -0, functions and typed arrays keep apart.
 */
export function keyOf(value: unknown): string | null {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value);
    case 'number':
      return Object.is(value, -0) ? '-0' : String(value);
    case 'bigint':
      return `${value}n`;
    case 'boolean':
    case 'undefined':
      return String(value);
    case 'function':
      return `function ${identityOf(value)}`;
    case 'symbol':
      return null;
    case 'object':
      return value === null ? 'null' : keyOfObject(value);
  }
}

function keyOfObject(value: object): string | null {
  if (ArrayBuffer.isView(value)) {
    const bytes =
      value.byteLength === 0 ? new Uint8Array(0) : new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    return `${value.constructor.name} ${createHash('sha256').update(bytes).digest('base64')}`;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (!Array.isArray(value) && prototype !== Object.prototype && prototype !== null) return null;
  const entries = Object.entries(value).map(([name, each]) => [JSON.stringify(name), keyOf(each)] as const);
  if (entries.some(([, key]) => key === null)) return null;
  const isArray = Array.isArray(value);
  return `${isArray ? '[' : '{'}${entries.map(([name, key]) => (isArray ? key : `${name}:${key}`)).join(',')}${isArray ? ']' : '}'}`;
}

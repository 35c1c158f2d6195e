/**
 * Symbol.asyncDispose, also where the language does not have it yet: Node 20 gives it to its own global scope only, not
 * to others such as those of vitest's `vmThreads`. What compiles `await using` for these asks for this symbol in its
 * place.
 */
export const asyncDispose: typeof Symbol.asyncDispose =
  Symbol.asyncDispose ?? (Symbol.for('Symbol.asyncDispose') as typeof Symbol.asyncDispose);

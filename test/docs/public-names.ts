import { fileURLToPath } from 'node:url';

import ts from 'typescript';

/** A name that users see, with its doc comment. */
export interface PublicName {
  /** Such as `LoadOptions.dtype`. */
  readonly name: string;
  /** The text of the comment; empty where there is none. */
  readonly comment: string;
  readonly isOptional: boolean;
  readonly type: string;
}

/** `sightline` and its other entries. */
const ENTRIES = ['index.ts', 'bench/index.ts', 'service/http.ts', 'service/fastify.ts'].map((file) =>
  fileURLToPath(new URL(`../../lib/${file}`, import.meta.url)),
);
const CONFIG = fileURLToPath(new URL('../../tsconfig.json', import.meta.url));

const { config } = ts.readConfigFile(CONFIG, (path) => ts.sys.readFile(path)) as { config: object };
const { options } = ts.parseJsonConfigFileContent(config, ts.sys, fileURLToPath(new URL('../..', import.meta.url)));
const program = ts.createProgram(ENTRIES, options);
const checker = program.getTypeChecker();

const resolved = (symbol: ts.Symbol): ts.Symbol =>
  symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
const commentOf = (symbol: ts.Symbol): string =>
  ts.displayPartsToString(symbol.getDocumentationComment(checker)).trim();
const isInternal = (symbol: ts.Symbol): boolean => symbol.getJsDocTags(checker).some(({ name }) => name === 'internal');

function exportsOf(symbol: ts.Symbol, prefix: string): [string, ts.Symbol][] {
  return checker.getExportsOfModule(symbol).map((each) => [`${prefix}${each.name}`, resolved(each)]);
}

/** Such as `z`, which has documentation of its own. */
const isForeign = (symbol: ts.Symbol): boolean =>
  symbol.declarations?.every((each) => each.getSourceFile().fileName.includes('/node_modules/')) ?? false;
const entries = ENTRIES.map((file) => checker.getSymbolAtLocation(program.getSourceFile(file)!)!);
const own = entries.flatMap((entry) => exportsOf(entry, '')).filter(([, symbol]) => !isForeign(symbol));
const named = own.flatMap(([name, symbol]) =>
  symbol.flags & ts.SymbolFlags.ValueModule ? exportsOf(symbol, `${name}.`) : [[name, symbol] as [string, ts.Symbol]],
);

function describe(name: string, symbol: ts.Symbol): PublicName {
  const declaration = symbol.declarations?.[0];
  const type =
    declaration === undefined
      ? ''
      : checker.typeToString(
          checker.getTypeOfSymbolAtLocation(symbol, declaration),
          undefined,
          ts.TypeFormatFlags.NoTruncation,
        );
  return { name, comment: commentOf(symbol), isOptional: (symbol.flags & ts.SymbolFlags.Optional) !== 0, type };
}

/** All that `import ... from 'sightline'` gives, and what `symbolic` holds. */
export const EXPORTS: readonly PublicName[] = named.map(([name, symbol]) => describe(name, symbol));

/** Every property of the interfaces and classes among them that this project declares. */
export const MEMBERS: readonly PublicName[] = named.flatMap(([name, symbol]) => {
  if ((symbol.flags & (ts.SymbolFlags.Interface | ts.SymbolFlags.Class)) === 0) return [];
  const own = checker.getDeclaredTypeOfSymbol(symbol).getProperties();
  return own
    .filter((property) => {
      const declaration = property.declarations?.[0];
      if (declaration === undefined || declaration.getSourceFile().fileName.includes('node_modules')) return false;
      const flags = ts.getCombinedModifierFlags(declaration);
      return (flags & ts.ModifierFlags.Private) === 0 && !/^(?:__|#)/.test(property.name) && !isInternal(property);
    })
    .map((property) => describe(`${name}.${property.name}`, property));
});

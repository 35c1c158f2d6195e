/**
 * Writes what doc comments say of methods, metrics and their options to lib/requests/documentation/, where
 * `describeMethods` and `describeMetrics` read it at run time. Run it after such a doc comment was changed:
 *
 *     npm run document
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';
import { PACKAGE_ROOT } from '../lib/setup/stamps.mjs';

const FOLDER = path.join(PACKAGE_ROOT, 'lib', 'requests', 'documentation');

/** The types whose properties are options, by the name of their part. */
const PROBE = `
import type { METRICS, MetricName } from './metrics/index.js';
import type { METHODS, MethodName } from './methods/index.js';
import type { ATTENTION_METHODS } from './methods/attention/index.js';
import type { CAM_METHODS } from './methods/cam/index.js';
import type { GRADIENT_METHODS } from './methods/gradients/index.js';
import type { CommonOptions, LayerOptions, MethodOptions } from './requests/explain.js';
import type { z } from 'zod';
type MetricOptions = { [Name in MetricName]: z.input<(typeof METRICS)[Name]['options']> };
export type Options = { [Name in MethodName]: MethodOptions<Name> } & MetricOptions;
export type Families = {
  cam: typeof CAM_METHODS;
  attention: typeof ATTENTION_METHODS;
  gradients: typeof GRADIENT_METHODS;
  metrics: typeof METRICS;
};
export type Shared = { common: CommonOptions; layer: LayerOptions };
`;

/**
 * @typedef {{ readonly description: string, readonly options: Readonly<Record<string, string>> }} MethodDocumentation
 * @typedef {{ readonly families: Readonly<Record<string, Readonly<Record<string, MethodDocumentation>>>>, readonly
 * shared: Readonly<Record<string, Readonly<Record<string, string>>>> }} Documentation
 */

/**
 * What the doc comments say now.
 * @returns {Documentation}
 */
export function readDocumentation() {
  const config = path.join(PACKAGE_ROOT, 'tsconfig.json');
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(config, ts.sys.readFile).config,
    ts.sys,
    PACKAGE_ROOT,
  );
  const probe = path.join(PACKAGE_ROOT, 'lib', 'documentation-probe.ts');
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile } = host;
  host.fileExists = (file) => file === probe || fileExists(file);
  host.readFile = (file) => (file === probe ? PROBE : readFile(file));
  const program = ts.createProgram([probe], { ...options, noEmit: true }, host);
  const checker = program.getTypeChecker();
  const source = program.getSourceFile(probe);
  if (source === undefined) throw new Error('The probe was not read.');

  /** @param {string} name */
  const typeNamed = (name) => {
    const statement = source.statements.find((each) => ts.isTypeAliasDeclaration(each) && each.name.text === name);
    if (statement === undefined) throw new Error(`The probe has no type ${name}.`);
    return checker.getTypeAtLocation(/** @type {ts.TypeAliasDeclaration} */ (statement).name);
  };
  /** @param {ts.Symbol} symbol */
  const commentOf = (symbol) => flowing(ts.displayPartsToString(symbol.getDocumentationComment(checker)));
  /** @param {ts.Symbol} symbol */
  const typeOf = (symbol) => checker.getNonNullableType(checker.getTypeOfSymbol(symbol));
  /** @param {ts.Type} type */
  const commentsOf = (type) =>
    Object.fromEntries(checker.getPropertiesOfType(type).map((each) => [each.name, commentOf(each)]));
  const own = new Map(checker.getPropertiesOfType(typeNamed('Options')).map((each) => [each.name, typeOf(each)]));

  const families = Object.fromEntries(
    checker.getPropertiesOfType(typeNamed('Families')).map((family) => {
      const methods = checker.getPropertiesOfType(typeOf(family)).map((method) => {
        const options = /** @type {ts.Type} */ (own.get(method.name));
        return [
          method.name,
          {
            description: commentOf(methodItself(checker, method)),
            options: isEmpty(checker, options) ? {} : commentsOf(options),
          },
        ];
      });
      return [family.name, Object.fromEntries(methods)];
    }),
  );
  const shared = Object.fromEntries(
    checker.getPropertiesOfType(typeNamed('Shared')).map((each) => [each.name, commentsOf(typeOf(each))]),
  );
  return { families, shared };
}

/**
 * The constant that a row of a family's table names: its comment is the method's.
 * @param {ts.TypeChecker} checker
 * @param {ts.Symbol} row
 */
function methodItself(checker, row) {
  const declaration = row.valueDeclaration;
  if (declaration === undefined) throw new Error(`${row.name} is declared nowhere.`);
  let symbol;
  if (ts.isShorthandPropertyAssignment(declaration)) symbol = checker.getShorthandAssignmentValueSymbol(declaration);
  else if (ts.isPropertyAssignment(declaration)) symbol = checker.getSymbolAtLocation(declaration.initializer);
  if (symbol === undefined) throw new Error(`The table of methods must name a constant for ${row.name}.`);
  return symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
}

/**
 * Options of a method without any: no name is known to be one.
 * @param {ts.TypeChecker} checker
 * @param {ts.Type} type
 */
function isEmpty(checker, type) {
  return checker.getPropertiesOfType(type).length === 0;
}

/** A comment's paragraphs as lines of their own. @param {string} comment */
function flowing(comment) {
  return comment
    .split(/\n\s*\n/)
    .map((paragraph) => paragraph.replace(/\s+/g, ' ').trim())
    .filter((paragraph) => paragraph !== '')
    .join('\n\n');
}

/** @param {unknown} table */
function moduleOf(table) {
  return `// Written by \`npm run document\` from the doc comments of methods, metrics and their options. Do not edit.\nexport default ${JSON.stringify(table, null, 2)} as const;\n`;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { families, shared } = readDocumentation();
  mkdirSync(FOLDER, { recursive: true });
  for (const [name, table] of Object.entries({ ...families, shared })) {
    writeFileSync(path.join(FOLDER, `${name}.ts`), moduleOf(table));
  }
}

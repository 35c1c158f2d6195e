import { SightlineError } from '../../support/errors.js';
import type { AttentionInfo, Inspection, NodeInfo } from '../../engine/inspection.js';
import { suggestion } from '../../support/nearest.js';
import { mean, narrow, select, square, type Axis, type Run, type Value } from '../../symbolic/index.js';
import { resolveTargets } from '../targets.js';
import type { GridPlace, MaximizeRequest } from './options.js';

/** What is maximized, checked against a model. */
export interface Objective {
  /** In words, such as `channel 3 of layer4`. */
  readonly name: string;
  /** Reads it out of a run: [batch]. */
  readonly of: (run: Run) => Value;
}

/**
 * Finds what a request names.
 *
 * @throws SightlineError UNKNOWN_NODE, UNKNOWN_TARGET, INVALID_OPTION, METHOD_NOT_APPLICABLE
 */
export function resolveObjective(
  request: MaximizeRequest,
  inspection: Inspection,
  labels: readonly string[],
): Objective {
  if (inspection.isQuantized) {
    throw new SightlineError(
      'METHOD_NOT_APPLICABLE',
      'Nothing can be maximized: the weights are quantized, and quantized operators have no gradients.',
    );
  }
  if (request.class !== undefined) return classObjective(request.class, inspection, labels);
  if (request.of === 'attention') return attentionObjective(request, inspection);
  if (request.of === 'query' || request.of === 'key' || request.of === 'value') {
    return projectionObjective(request, request.of, inspection);
  }
  return featureObjective(request, inspection);
}

function classObjective(
  target: NonNullable<MaximizeRequest['class']>,
  inspection: Inspection,
  labels: readonly string[],
): Objective {
  if (inspection.classes === 0) {
    throw new SightlineError('METHOD_NOT_APPLICABLE', 'The model scores no classes; name a node to maximize.');
  }
  const [resolved, ...more] = resolveTargets([target], labels);
  const { of, against } = resolved!;
  if (more.length > 0 || of < 0 || (against ?? 0) < 0) {
    throw new SightlineError(
      'UNKNOWN_TARGET',
      `${JSON.stringify(target)} ranks the classes of an image, and there is none yet; name a class by its index or label.`,
    );
  }
  const named = (index: number): string =>
    labels[index] === `class ${index}` ? labels[index] : `the class ${labels[index]!}`;
  return {
    name: against === null ? named(of) : `${named(of)} against ${named(against)}`,
    of: (run) => {
      const score = select(run.logits, 'classes', of);
      return against === null ? score : score.sub(select(run.logits, 'classes', against));
    },
  };
}

function featureObjective(request: MaximizeRequest, inspection: Inspection): Objective {
  const { channel, unit, token } = request;
  const node = findNode(request.node!, inspection);
  const { name, layout, shape, grid } = node;
  if (layout === 'other') {
    throw new SightlineError(
      'METHOD_NOT_APPLICABLE',
      `The output of "${name}", ${shape.join(' x ')}, has no known channels; choose another node of \`sightline inspect\`.`,
    );
  }
  within('channel', channel, shape[layout === 'channels-first' ? 1 : shape.length - 1]!, name);
  if (token !== undefined && layout !== 'tokens') {
    throw new SightlineError(
      'INVALID_OPTION',
      `"${name}" has no tokens: its output is ${shape.join(' x ')}; name a place by "unit".`,
    );
  }
  const place = token === undefined ? (unit === undefined ? null : `place ${spot(unit)}`) : `token ${token}`;
  const subject = named([channel === undefined ? null : `channel ${channel}`, place], name);

  if (layout === 'tokens') {
    const tokens = grid?.order?.length ?? shape[1]!;
    within('token', token, tokens, name);
    const at = token ?? (unit === undefined ? null : patchNumber(unit, grid, name));
    return { name: subject, of: (run) => activation(atTokens(run.feature(name), at, grid), channel) };
  }
  if (layout === 'vector') {
    if (unit !== undefined) {
      throw new SightlineError(
        'INVALID_OPTION',
        `"${name}" has no places: its output is ${shape.join(' x ')}; leave "unit" out.`,
      );
    }
    return { name: subject, of: (run) => activation(run.feature(name), channel) };
  }
  const [height, width] = (layout === 'channels-first' ? shape.slice(2) : shape.slice(1)) as [number, number];
  checkPlace(unit, height, width, name);
  return {
    name: subject,
    of: (run) => {
      const feature = run.feature(name);
      return activation(
        unit === undefined ? feature : select(select(feature, 'height', unit.row), 'width', unit.column),
        channel,
      );
    },
  };
}

function attentionObjective(request: MaximizeRequest, inspection: Inspection): Objective {
  const { head, unit, token } = request;
  const { site, info } = findAttention(request.node!, inspection);
  if (info.unsupported !== '') {
    throw new SightlineError(
      'METHOD_NOT_APPLICABLE',
      `The attention of "${info.name}" cannot be read: ${info.unsupported}.`,
    );
  }
  within('head', head, info.heads, info.name);
  within('token', token, info.tokens, info.name);
  const grid = inspection.tokens;
  if (grid === null || grid.prefix + grid.height * grid.width + grid.suffix !== info.keys) {
    throw new SightlineError(
      'METHOD_NOT_APPLICABLE',
      `The ${info.keys} tokens that "${info.name}" attends to are in no known grid of patches.`,
    );
  }
  const patch = unit === undefined ? null : patchNumber(unit, grid, info.name);
  // Each row of attention sums to 1: where every token is a patch, the mean over patches never changes.
  if (patch === null && grid.prefix + grid.suffix === 0) {
    throw new SightlineError(
      'METHOD_NOT_APPLICABLE',
      `Attention to all patches of "${info.name}" is always 1: there is no other token that it could go to; name one patch by "unit".`,
    );
  }
  const looks = token ?? (grid.classToken !== null && info.tokens === info.keys ? grid.classToken : null);
  const who =
    token !== undefined
      ? `token ${token}`
      : looks !== null
        ? 'the class token'
        : info.tokens === info.keys
          ? 'all patches'
          : 'all queries';
  const to = unit === undefined ? 'the patches' : `the patch ${spot(unit)}`;
  return {
    name: `attention of ${who} to ${to}, ${named([head === undefined ? 'all heads' : `head ${head}`], info.name)}`,
    of: (run) => {
      const attention = run.attention(site);
      const ofHead = head === undefined ? mean(attention, 'heads') : select(attention, 'heads', head);
      // Class attention and pooling have queries of their own, which are no patches.
      const queries =
        info.tokens === info.keys ? narrow(ofHead, 'queries', grid.prefix, grid.height * grid.width) : ofHead;
      const row = looks === null ? mean(queries, 'queries') : select(ofHead, 'queries', looks);
      return patch === null
        ? mean(narrow(row, 'keys', grid.prefix, grid.height * grid.width), 'keys')
        : select(row, 'keys', patch);
    },
  };
}

function projectionObjective(
  request: MaximizeRequest,
  of: 'query' | 'key' | 'value',
  inspection: Inspection,
): Objective {
  const { head, channel, unit, token } = request;
  const { site, info } = findAttention(request.node!, inspection);
  const tokens = of === 'query' ? info.tokens : info.keys;
  within('head', head, info.heads, info.name);
  within('channel', channel, info.headSize, `each head of ${info.name}`);
  within('token', token, tokens, info.name);
  const grid =
    inspection.tokens !== null &&
    inspection.tokens.prefix + inspection.tokens.height * inspection.tokens.width + inspection.tokens.suffix === tokens
      ? inspection.tokens
      : null;
  const at = token ?? (unit === undefined ? null : patchNumber(unit, grid, info.name));
  const parts = [
    channel === undefined ? null : `channel ${channel}`,
    head === undefined ? null : `head ${head}`,
    token === undefined ? (unit === undefined ? null : `patch ${spot(unit)}`) : `token ${token}`,
  ];
  return {
    name: `${{ query: 'queries', key: 'keys', value: 'values' }[of]}: ${named(parts, info.name)}`,
    of: (run) => {
      const projected = run[of](site);
      return activation(atTokens(head === undefined ? projected : select(projected, 'heads', head), at, grid), channel);
    },
  };
}

/** One token's states, or those of the patches; of all tokens where the patches are in no grid. */
function atTokens(
  states: Value,
  token: number | null,
  grid: { readonly height: number; readonly width: number; readonly prefix: number } | null,
): Value {
  if (token !== null) return select(states, 'tokens', token);
  return grid === null ? states : narrow(states, 'tokens', grid.prefix, grid.height * grid.width);
}

/** The mean of a channel, or of the squares of all, over everything that is left: [batch]. */
function activation(value: Value, channel: number | undefined): Value {
  const chosen = channel === undefined ? square(value) : select(value, 'channels', channel);
  const rest = chosen.axes.filter((axis: Axis) => axis !== 'batch');
  return rest.length === 0 ? chosen : mean(chosen, rest);
}

function findNode(name: string, { nodes }: Inspection): NodeInfo {
  const found = nodes.find((node) => node.name === name);
  if (found) return found;
  const known = nodes.map((node) => node.name);
  throw new SightlineError('UNKNOWN_NODE', `The model has no node "${name}". ${suggestion(name, known)}`.trim(), {
    details: { known },
  });
}

/** The attention that a module holds. */
function findAttention(name: string, inspection: Inspection): { site: number; info: AttentionInfo } {
  const { attention } = inspection;
  if (attention.length === 0) {
    throw new SightlineError(
      'METHOD_NOT_APPLICABLE',
      `The model has no attention of a known form, so there are no heads, queries, keys or values in "${name}"; maximize a channel instead.`,
    );
  }
  const exact = attention.findIndex((info) => info.name === name);
  const inside = attention.flatMap((info, site) => (info.name.startsWith(`${name}.`) ? [site] : []));
  const known = attention.map((info) => info.name);
  if (exact < 0 && inside.length > 1) {
    throw new SightlineError(
      'INVALID_OPTION',
      `"${name}" holds ${inside.length} attentions; name one of ${known.filter((each) => each.startsWith(`${name}.`)).join(', ')}.`,
    );
  }
  const site = exact >= 0 ? exact : inside[0];
  if (site === undefined) {
    throw new SightlineError(
      'UNKNOWN_NODE',
      `The model has no attention "${name}". ${suggestion(name, known)}`.trim(),
      { details: { known } },
    );
  }
  const info = attention[site]!;
  if (info.windows > 1) {
    throw new SightlineError(
      'METHOD_NOT_APPLICABLE',
      `The attention of "${info.name}" works in ${info.windows} windows, each with its own tokens; maximize a channel of a node instead.`,
    );
  }
  return { site, info };
}

function within(what: string, index: number | undefined, count: number, where: string): void {
  if (index !== undefined && index >= count) {
    throw new SightlineError('INVALID_OPTION', `There is no ${what} ${index}: ${where} has ${count}, numbered from 0.`);
  }
}

function checkPlace(unit: GridPlace | undefined, height: number, width: number, name: string): void {
  if (unit !== undefined && (unit.row >= height || unit.column >= width)) {
    throw new SightlineError(
      'INVALID_OPTION',
      `There is no place ${spot(unit)}: ${name} has ${height} rows and ${width} columns, numbered from 0.`,
    );
  }
}

function patchNumber(
  unit: GridPlace,
  grid: { readonly height: number; readonly width: number; readonly prefix: number } | null,
  name: string,
): number {
  if (grid === null) {
    throw new SightlineError(
      'INVALID_OPTION',
      `The tokens of "${name}" are in no known grid, so they have no rows and columns; name one by "token".`,
    );
  }
  checkPlace(unit, grid.height, grid.width, name);
  return grid.prefix + unit.row * grid.width + unit.column;
}

function spot({ row, column }: GridPlace): string {
  return `(${row}, ${column})`;
}

/** `channel 3, token 0 of blocks.5`; just the name where nothing else is chosen. */
function named(parts: readonly (string | null)[], name: string): string {
  const chosen = parts.filter((part) => part !== null);
  return chosen.length === 0 ? name : `${chosen.join(', ')} of ${name}`;
}

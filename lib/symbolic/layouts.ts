import type { NodeInfo } from '../engine/inspection.js';
import { SightlineError } from '../support/errors.js';
import type { Axis, Value } from './value.js';
import { narrow, split, transpose } from './vocabulary.js';

/** The axes of a node's output as its module gives it: patches that are in no order of rows are no tokens yet. */
export function ownAxesOf(node: NodeInfo): Axis[] {
  return node.grid?.order ? numbered(node) : axesOf(node);
}

function numbered({ shape }: NodeInfo): Axis[] {
  return ['batch', ...shape.slice(1).map((_, i) => `axis${i + 1}`)];
}

/** The axes of a node's output, in its own layout. */
export function axesOf(node: NodeInfo): Axis[] {
  switch (node.layout) {
    case 'tokens':
      return ['batch', 'tokens', 'channels'];
    case 'channels-first':
      return ['batch', 'channels', 'height', 'width'];
    case 'channels-last':
      return ['batch', 'height', 'width', 'channels'];
    case 'vector':
      return ['batch', 'channels'];
    default:
      return numbered(node);
  }
}

/**
 * A node's output, or its gradient, as [batch, channels, height, width].
 *
 * @param layer the name by which messages call the node
 * @throws SightlineError METHOD_NOT_APPLICABLE where it has no space
 */
export function inSpace(value: Value, node: NodeInfo, layer: string): Value {
  if (node.layout === 'channels-first' && (node.shape[2] ?? 1) * (node.shape[3] ?? 1) > 1) return value;
  if (node.layout === 'channels-last') return transpose(value, ['batch', 'channels', 'height', 'width']);
  if (node.grid !== null) {
    const { height, width, prefix, suffix } = node.grid;
    const kept = prefix + suffix === 0 ? value : narrow(value, 'tokens', prefix, height * width);
    return transpose(split(kept, 'tokens', { height, width }), ['batch', 'channels', 'height', 'width']);
  }
  throw new SightlineError(
    'METHOD_NOT_APPLICABLE',
    `The layer "${layer}" has no spatial axes: its output is ${node.shape.join(' x ')}; choose one that \`sightline inspect\` shows with a grid.`,
  );
}

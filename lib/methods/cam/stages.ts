import type { Inspection, NodeInfo } from '../../engine/inspection.js';
import { placesOf } from './channel-masks.js';

const isSpatial = ({ layout }: NodeInfo): boolean => layout === 'channels-first' || layout === 'channels-last';
const isInside = (name: string, module: string): boolean => name.startsWith(`${module}.`);

const isFiner = (node: NodeInfo, than: NodeInfo): boolean => {
  const [[height, width], [rows, columns]] = [placesOf(node), placesOf(than)];
  return height >= rows && width >= columns && height * width > rows * columns;
};

/**
 * The layers at which a convolutional network goes over to a coarser grid, from `layer` backwards: of each grid that is
 * finer, the last node, `layer` itself first.
 *
 * The first convolution of a residual block that halves the grid comes after that and is passed over: it is inside a
 * module that begins on its grid and ends on a coarser one. A module that goes through more grids than those two, or
 * holds `layer`, is a container of stages and none itself.
 */
export function stagesBefore({ nodes }: Inspection, layer: string): string[] {
  const spatial = nodes.filter(isSpatial);
  const end = spatial.findIndex(({ name }) => name === layer);
  const found = [spatial[end]!];
  const isInStage = (node: NodeInfo): boolean =>
    spatial.some(
      (module) =>
        isInside(node.name, module.name) &&
        isFiner(node, module) &&
        !isInside(layer, module.name) &&
        module.name !== layer &&
        spatial.every(
          (inner) =>
            !isInside(inner.name, module.name) ||
            !isFiner(inner, module) ||
            (!isFiner(inner, node) && !isFiner(node, inner)),
        ),
    );
  for (const node of spatial.slice(0, end).reverse()) {
    if (isFiner(node, found.at(-1)!) && !isInStage(node)) found.push(node);
  }
  return found.map(({ name }) => name);
}

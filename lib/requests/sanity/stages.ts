import type { NodeInfo } from '../../engine/inspection.js';

/** Operators that have weights. */
const WEIGHTED = /conv|linear|norm|addmm|matmul|embedding/;

/**
 * The parts of a network whose weights are shuffled one after the other, from the scores down: each block, and each
 * layer outside of blocks. A block is named by the first component of its path that ends in a number (`layer4`,
 * `blocks.11`, `encoder.layer.3`).
 */
export function stagesOf(nodes: readonly NodeInfo[]): string[] {
  const paths = nodes
    .filter(({ operator }) => WEIGHTED.test(operator))
    .map(({ name }) => name.replace(/:\d+$/, '').split('.'));
  // A backbone in a wrapper is not one part of it.
  const shared = sharedComponents(paths);
  const numbered = paths.flatMap((path) => {
    const at = path.findIndex((component, i) => i >= shared && /\d$/.test(component));
    return at < 0 ? [] : [path.slice(0, at + 1).join('.')];
  });
  const stages = new Set<string>();
  for (const path of paths) {
    const own = numbered.find((block) => isWithin(path.join('.'), block));
    if (own !== undefined) {
      stages.add(own);
      continue;
    }
    // The shortest path that no block lies within.
    let length = Math.min(shared + 1, path.length);
    while (length < path.length && numbered.some((block) => isWithin(block, path.slice(0, length).join('.')))) length++;
    const stage = path.slice(0, length).join('.');
    if (!numbered.some((block) => isWithin(block, stage))) stages.add(stage);
  }
  return [...stages].reverse();
}

const isWithin = (path: string, of: string): boolean => path === of || path.startsWith(`${of}.`);

function sharedComponents(paths: readonly (readonly string[])[]): number {
  const [first, ...others] = paths;
  if (first === undefined) return 0;
  let count = 0;
  // The last component is the layer itself.
  while (count < first.length - 1 && others.every((path) => path.length > count + 1 && path[count] === first[count])) {
    count++;
  }
  return count;
}

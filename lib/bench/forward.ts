import type { TensorInput } from '../inputs.js';
import type { Model, ModelInspection } from '../model.js';

/** The plain forward pass, which every cost is a multiple of: the model's output is computed and nothing else. */
export function plainForward(model: Model, { nodes }: ModelInspection): (images: TensorInput) => Promise<unknown> {
  const last = nodes.at(-1)!.name;
  return (images) => model.capture(images, { features: [last] });
}

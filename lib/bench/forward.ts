import type { TensorInput } from '../images/inputs.js';
import type { Model } from '../model/model.js';

/** The plain forward pass, which every cost is a multiple of: the model's scores are computed and nothing else. */
export function plainForward(model: Model): (images: TensorInput) => Promise<unknown> {
  // A model without class scores has no predictions; its last node is its output.
  if (model.labels.length > 0) return (images) => model.predict(images);
  return async (images) => {
    const { nodes } = await model.inspect();
    return model.capture(images, { features: [nodes.at(-1)!.name] });
  };
}

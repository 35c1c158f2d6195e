import { grad, type SymbolicModel, type Value } from '../../symbolic/index.js';

/** What a CAM reads of a layer: both [batch, channels, height, width], patches only where it has tokens. */
export interface LayerReading {
  readonly activations: Value;
  /** Of the explained score with respect to the layer. */
  readonly gradients: Value;
}

/** The layer's output in space. */
export function activationsOf(model: SymbolicModel, layer: string): Value {
  return model.spatial(model.output.feature(layer), layer);
}

/** The layer's output and the gradient of `score`, [batch], with respect to it. */
export function readLayer(model: SymbolicModel, layer: string, score: Value = model.output.score): LayerReading {
  const feature = model.output.feature(layer);
  return { activations: model.spatial(feature, layer), gradients: model.spatial(grad(score, feature), layer) };
}

/**
 * A method of one's own: gradient times activation, summed over channels without ReLU, so that it also shows what
 * speaks against.
 */
import { defineMethod, symbolic, z, type Model } from 'sightline';

/** Made once: plans are kept by the method's object. */
const signedCam = defineMethod({
  name: 'signed-cam',
  options: z.strictObject({ evidence: z.enum(['both', 'for', 'against']).default('both') }),
  usesLayer: true,
  isClassSpecific: true,
  reasonAgainst: ({ targetLayer }) => (targetLayer === null ? 'it has no feature with space' : null),
  map: ({ model, layer, options: { evidence } }) => {
    const feature = model.output.feature(layer);
    const gradient = symbolic.grad(model.output.score, feature);
    const map = symbolic.sum(model.spatial(feature.mul(gradient), layer), 'channels');
    if (evidence === 'both') return map;
    return symbolic.relu(evidence === 'for' ? map : map.mul(-1));
  },
});

export async function evidence(model: Model, image: string, of: 'both' | 'for' | 'against'): Promise<Float32Array> {
  const [explained] = await model.explain(image, {
    method: signedCam,
    options: { evidence: of },
    size: 'grid',
    raw: true,
  });
  return explained!.maps[0]!.data;
}

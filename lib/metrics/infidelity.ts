import { count, noise as deviation, oneOf, seed } from '../methods/fields.js';
import { withPresets } from '../methods/presets.js';
import { accumulate, equal, fullLike, mul, noise, square, sum, where } from '../symbolic/index.js';
import { scoreIn, scoreOption } from './fields.js';
import { defineMetric } from './metric.js';

/**
 * Infidelity: the mean square of what the map says that noise takes from the class's score, less what it takes. At
 * least 0, lower is better.
 *
 * Yeh, Hsieh, Suggala, Inouye & Ravikumar, On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019. A map has
 * one number for all channels of a pixel. By default it is first scaled to fit best, as the paper's formula (6) allows:
 * else maps are compared by their unit.
 */
export const infidelity = defineMetric({
  name: 'infidelity',
  family: 'faithfulness',
  better: 'lower',
  needsMask: false,
  readsScore: true,
  options: withPresets(
    {
      /** Perturbed images, and runs of the model. */
      samples: count(1),
      /** Standard deviation of the noise, after normalization. */
      noise: deviation,
      /** `fitted`: the map is scaled to fit best; `own`: it is taken in its own unit. */
      scale: oneOf('fitted', 'own'),
      /** The score of each run: `logit` of the class, `probability`, or `top1`. */
      score: scoreOption,
      /** Of the noise: the same seed gives the same figure. */
      seed,
    },
    { samples: 100, noise: 0.2, scale: 'fitted', score: 'logit', seed: 0 },
  ),
  measure: ({ model, map, options }) => {
    const { image } = model;
    const whole = scoreIn(model, model.output, options.score);
    const { products, squares, falls } = accumulate(image, options.samples, (sample) => {
      const change = noise(image, sample, options.seed, 'normal').mul(options.noise);
      const fall = whole.sub(scoreIn(model, model.run(image.sub(change)), options.score));
      const said = sum(map.mul(sum(change, 'channels')), ['height', 'width']);
      return { products: said.mul(fall), squares: square(said), falls: square(fall) };
    });
    // The sum of (b s - f)^2 is b^2 S - 2 b P + F, least at b = P / S.
    const scale = options.scale === 'own' ? fullLike(squares, 1) : products.div(where(equal(squares, 0), 1, squares));
    const total = square(scale)
      .mul(squares)
      .sub(mul(scale.mul(2), products))
      .add(falls);
    return total.div(options.samples);
  },
});

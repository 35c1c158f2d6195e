/**
 * Records methods with their default options, for models that may be known by their inspection alone.
 *
 * @typedef {import('./table.mjs').Recorder} Recorder
 */

/**
 * @param {Pick<typeof import('../../dist/requests/explain-options.js') & typeof
 * import('../../dist/requests/explain-plan.js'), 'parseExplainOptions' | 'recordExplanations' | 'withLayers'>} explain
 * of dist/, or of lib/ in tests
 * @returns {Recorder}
 */
export function recorder({ parseExplainOptions, recordExplanations, withLayers }) {
  return (method, inspection) => {
    const request = parseExplainOptions({ method });
    if (request.method.reasonAgainst(inspection) !== null) return null;
    const { height, width } = inspection;
    const card = {
      name: 'model',
      input: {
        width,
        height,
        mean: [0, 0, 0],
        std: [1, 1, 1],
        resize: { mode: /** @type {const} */ ('exact'), size: [width, height] },
        interpolation: /** @type {const} */ ('bilinear'),
        crop: /** @type {const} */ ('none'),
      },
    };
    const plan = recordExplanations(
      [withLayers(request, inspection, undefined)],
      inspection,
      /** @type {never} */ (card),
    );
    const layer = request.method.usesLayer ? inspection.targetLayer : null;
    return { plan, settings: /** @type {Record<string, unknown>} */ (request.settings), layer };
  };
}

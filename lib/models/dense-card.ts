import { z } from 'zod';

/** How a card says what the numbers of masks or boxes are, where their shape does not tell. */
export const denseSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('masks'),
    /** Where the classes lie: `first` in [N, classes, H, W], `last` in [N, H, W, classes]. Default: what fits. */
    classes: z.enum(['first', 'last']).optional(),
  }),
  z.strictObject({
    kind: z.literal('boxes'),
    /** Where a box's values lie: `last` in [N, boxes, values], `first` in [N, values, boxes]. Default: what fits. */
    values: z.enum(['first', 'last']).optional(),
    /**
     * The first four values: `center` x and y, width and height; `corners` left, top, right, bottom; `none` where the
     * classes come first. Default: four values of which nothing is known.
     */
    place: z.enum(['center', 'corners', 'none']).optional(),
    /** What these four count: pixels of the model's input, or its width and height. Default `pixels`. */
    unit: z.enum(['pixels', 'sides']).optional(),
    /** Whether the next value is the probability of any object, by which the classes' are multiplied. */
    objectness: z.boolean().optional(),
  }),
]);

/** A card's word on an output of masks or boxes. */
export type DenseCard = z.infer<typeof denseSchema>;

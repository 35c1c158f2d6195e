/** The axes of a map, over which channels are summed and averaged. */
export const SPACE = ['height', 'width'] as const;

/**
 * Colors of middling lightness that need no background, so that a plot can lie on a light page as on a dark one:
 * each has a contrast of at least 3 (of text 4) to white and to #0d1117 (WCAG 2).
 */
export const INK = '#757575';
/** Lines that only guide the eye. */
export const GRID_OPACITY = 0.25;

/** By series; distinct in the common color blindnesses by their order and by the markers beside them. */
export const SERIES = ['#2f78c4', '#c8570c', '#12855f', '#b8488f', '#8b6fd0', '#8a7200', '#cf4444', '#3a858d'] as const;

export function seriesColor(index: number): string {
  return SERIES[index % SERIES.length]!;
}

import { z } from 'zod';

import { abs, max, mean, min, sum, type Value } from '../../symbolic/index.js';

/** How three numbers per pixel, one for each color channel, become one. */
export const CHANNELS = ['max-abs', 'sum-abs', 'mean-abs', 'sum', 'mean', 'max', 'min'] as const;
export type Channels = (typeof CHANNELS)[number];

export const channelsSchema = z.enum(CHANNELS, { error: `one of ${CHANNELS.join(', ')} is expected` });

/** [batch, channels, height, width] to [batch, height, width]. */
export function overChannels(value: Value, channels: Channels): Value {
  switch (channels) {
    case 'max-abs':
      return max(abs(value), 'channels');
    case 'sum-abs':
      return sum(abs(value), 'channels');
    case 'mean-abs':
      return mean(abs(value), 'channels');
    case 'sum':
      return sum(value, 'channels');
    case 'mean':
      return mean(value, 'channels');
    case 'max':
      return max(value, 'channels');
    case 'min':
      return min(value, 'channels');
  }
}

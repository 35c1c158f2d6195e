import { useEffect, useRef } from 'preact/hooks';

import { colorsOf, type Scale } from './paint.js';
import type { Look } from './state.js';
import { shortNumber } from './words.js';

interface Props {
  readonly scale: Scale;
  readonly look: Look;
  /** The map's own smallest and largest value. */
  readonly range: readonly [min: number, max: number];
}

/** The colors of a map, with the values that they stand for. */
export function Legend({ scale, look, range: [min, max] }: Props) {
  const bar = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const context = bar.current!.getContext('2d')!;
    const image = context.createImageData(256, 1);
    const table = colorsOf(scale, look);
    for (let i = 0; i < 256; i++) {
      const strength = scale.isSigned ? Math.abs(i / 127.5 - 1) : i / 255;
      image.data.set(
        [table[3 * i]!, table[3 * i + 1]!, table[3 * i + 2]!, strength >= look.threshold ? 255 : 40],
        4 * i,
      );
    }
    context.putImageData(image, 0, 0);
  }, [scale, look]);
  const text = `Values from ${shortNumber(min)} to ${shortNumber(max)}`;
  return (
    <div class="legend">
      <canvas ref={bar} width={256} height={1} role="img" aria-label={text} />
      <div class="ends" aria-hidden="true">
        <span>{shortNumber(scale.min)}</span>
        {scale.isSigned && <span>against · 0 · for</span>}
        <span>{shortNumber(scale.max)}</span>
      </div>
    </div>
  );
}

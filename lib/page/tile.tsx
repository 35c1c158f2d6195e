import { useEffect, useRef } from 'preact/hooks';

import { placeOf, type MapValues, type Scale } from './paint.js';
import { tableOf } from './color-tables.js';
import type { Look } from './state.js';

interface Props {
  readonly map: MapValues;
  readonly scale: Scale | null;
  readonly look: Look;
}

/** A small map without its picture: a pixel for each patch. */
export function Tile({ map, scale, look }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [height, width] = map.shape;
  useEffect(() => {
    const context = canvas.current!.getContext('2d')!;
    const image = context.createImageData(width, height);
    if (scale !== null) {
      const table = tableOf(scale.isSigned ? 'signed' : look.colormap);
      map.data.forEach((value, i) => {
        const entry = 3 * Math.round(255 * Math.min(1, Math.max(0, placeOf(value, scale))));
        image.data.set([table[entry]!, table[entry + 1]!, table[entry + 2]!, 255], 4 * i);
      });
    }
    context.putImageData(image, 0, 0);
  }, [map, scale, look.colormap]);
  return <canvas ref={canvas} width={width} height={height} class="tile" />;
}

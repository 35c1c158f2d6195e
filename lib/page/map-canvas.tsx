import { useEffect, useMemo, useRef, useState } from 'preact/hooks';

import { fieldOf, paintField, type Box, type MapValues, type Scale } from './paint.js';
import type { Look, Zoom } from './state.js';
import { WHOLE } from './state.js';
import { shortNumber } from './words.js';

interface Props {
  readonly bitmap: ImageBitmap;
  readonly map: MapValues | null;
  /** The part of the picture that the map covers. */
  readonly box: Box | null;
  readonly scale: Scale | null;
  readonly look: Look;
  readonly label: string;
  readonly zoom?: Zoom;
  readonly onZoom?: (zoom: Zoom) => void;
  readonly most?: number;
  readonly interpolation?: 'bilinear' | 'nearest';
  readonly isStale?: boolean;
}

/** A canvas needs no more pixels than a panel shows. */
const MOST_PIXELS = 720;

/** A map over its picture. What only recolors is drawn here, from the map's own values. */
export function MapCanvas(props: Props) {
  const { bitmap, map, box, scale, look, label, zoom = WHOLE, onZoom, interpolation = 'bilinear' } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  const shrink = Math.min(1, (props.most ?? MOST_PIXELS) / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * shrink));
  const height = Math.max(1, Math.round(bitmap.height * shrink));
  const scaled = useMemo(
    () => (box === null ? null : scaledBox(box, width / bitmap.width, height / bitmap.height)),
    [box, width, height, bitmap],
  );
  // Once for each map: what a slider recolors is looked up, not computed again.
  const field = useMemo(
    () => (map === null || scaled === null ? null : fieldOf(map, width, height, scaled, interpolation)),
    [map, scaled, width, height, interpolation],
  );
  const isGray = scale?.isSigned === true && look.view === 'heat' && field !== null;
  // What lies below and what lies above are kept: a slider of opacity only lays one on the other.
  const below = useMemo(() => {
    const context = contextOf(width, height);
    context.drawImage(bitmap, 0, 0, width, height);
    if (scaled !== null) veil(context, scaled, width, height);
    // Red and blue would drown in a picture's own colors.
    if (isGray) makeGray(context, width, height);
    return context.canvas;
  }, [bitmap, scaled, width, height, isGray]);
  const { view, threshold, colormap } = look;
  const above = useMemo(() => {
    if (field === null || scale === null) return null;
    const context = contextOf(width, height);
    const image = context.createImageData(width, height);
    paintField(new Uint32Array(image.data.buffer), field, scale, look);
    context.putImageData(image, 0, 0);
    return context.canvas;
  }, [field, scale, width, height, view, threshold, colormap, view === 'mask' && look.opacity]);
  useEffect(() => {
    const context = canvas.current!.getContext('2d')!;
    context.globalAlpha = 1;
    context.drawImage(below, 0, 0);
    if (above === null) return;
    context.globalAlpha = view === 'heat' ? look.opacity : 1;
    context.drawImage(above, 0, 0);
  }, [below, above, view, look.opacity]);

  const [value, setValue] = useState<string | null>(null);
  const frame = useRef<HTMLDivElement>(null);
  const drag = useRef<{ x: number; y: number; zoom: Zoom } | null>(null);
  const shares = (event: { clientX: number; clientY: number }): [number, number] => {
    const { left, top, width: across, height: down } = canvas.current!.getBoundingClientRect();
    return [(event.clientX - left) / across, (event.clientY - top) / down];
  };
  const move = (event: PointerEvent): void => {
    if (drag.current !== null && onZoom !== undefined) {
      const { left: _left, width: across, height: down } = frame.current!.getBoundingClientRect();
      const { x, y, zoom: from } = drag.current;
      onZoom(
        kept({
          ...from,
          x: from.x - (event.clientX - x) / across / from.scale,
          y: from.y - (event.clientY - y) / down / from.scale,
        }),
      );
      return;
    }
    if (field === null) return;
    const [x, y] = shares(event);
    const at = field.data[Math.floor(y * height) * width + Math.floor(x * width)];
    setValue(at === undefined || Number.isNaN(at) ? null : shortNumber(at));
  };
  const keys = (event: KeyboardEvent): void => {
    if (onZoom === undefined) return;
    const step = 0.15 / zoom.scale;
    const next: Record<string, Zoom> = {
      '+': { ...zoom, scale: zoom.scale * 1.5 },
      '=': { ...zoom, scale: zoom.scale * 1.5 },
      '-': { ...zoom, scale: zoom.scale / 1.5 },
      '0': WHOLE,
      ArrowLeft: { ...zoom, x: zoom.x - step },
      ArrowRight: { ...zoom, x: zoom.x + step },
      ArrowUp: { ...zoom, y: zoom.y - step },
      ArrowDown: { ...zoom, y: zoom.y + step },
    };
    const to = next[event.key];
    const movesNothing = event.key.startsWith('Arrow') && zoom.scale === 1;
    if (to === undefined || movesNothing || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    onZoom(kept(to));
  };
  useEffect(() => {
    const target = frame.current;
    if (target === null || onZoom === undefined) return undefined;
    // Only with Ctrl, as by a pinch: else the page could not be scrolled over a picture.
    const wheel = (event: WheelEvent): void => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      const [x, y] = shares(event);
      const to = zoom.scale * Math.exp(-event.deltaY / 200);
      const scaleNow = Math.min(MOST_ZOOM, Math.max(1, to));
      const share = 1 - zoom.scale / scaleNow;
      onZoom(kept({ scale: scaleNow, x: zoom.x + (x - zoom.x) * share, y: zoom.y + (y - zoom.y) * share }));
    };
    target.addEventListener('wheel', wheel, { passive: false });
    return () => target.removeEventListener('wheel', wheel);
  }, [zoom, onZoom]);

  const transform = `scale(${zoom.scale}) translate(${(0.5 - zoom.x) * 100}%, ${(0.5 - zoom.y) * 100}%)`;
  return (
    <div
      ref={frame}
      class={`frame${props.isStale === true ? ' stale' : ''}${zoom.scale > 1 ? ' zoomed' : ''}`}
      style={{ aspectRatio: `${width} / ${height}` }}
      {...(onZoom !== undefined && {
        tabIndex: 0,
        role: 'group',
        'aria-label': `${label}. Plus and minus zoom, arrows move, 0 shows all.`,
        onKeyDown: keys,
        onPointerDown: (event: PointerEvent) => {
          if (zoom.scale === 1) return;
          drag.current = { x: event.clientX, y: event.clientY, zoom };
          frame.current!.setPointerCapture(event.pointerId);
        },
        onPointerUp: () => (drag.current = null),
        onPointerMove: move,
        onPointerLeave: () => setValue(null),
      })}
    >
      <canvas ref={canvas} width={width} height={height} role="img" aria-label={label} style={{ transform }} />
      {value !== null && <output class="value">{value}</output>}
    </div>
  );
}

const MOST_ZOOM = 8;

/** Never beyond the picture's edges. */
function kept({ scale, x, y }: Zoom): Zoom {
  const held = Math.min(MOST_ZOOM, Math.max(1, scale));
  if (held < 1.02) return WHOLE;
  const half = 0.5 / held;
  const between = (value: number): number => Math.min(1 - half, Math.max(half, value));
  return { scale: held, x: between(x), y: between(y) };
}

export const zoomed = (zoom: Zoom, factor: number): Zoom => kept({ ...zoom, scale: zoom.scale * factor });

export const scaledBox = ({ left, top, width, height }: Box, across: number, down: number): Box => ({
  left: left * across,
  top: top * down,
  width: width * across,
  height: height * down,
});

/** Darkens what the model does not see. */
function veil(context: CanvasRenderingContext2D, box: Box, width: number, height: number): void {
  const [left, top, right, bottom] = [
    Math.max(0, box.left),
    Math.max(0, box.top),
    Math.min(width, box.left + box.width),
    Math.min(height, box.top + box.height),
  ].map(Math.round) as [number, number, number, number];
  context.fillStyle = 'rgb(18 18 17 / 55%)';
  context.fillRect(0, 0, width, top);
  context.fillRect(0, bottom, width, height - bottom);
  context.fillRect(0, top, left, bottom - top);
  context.fillRect(right, top, width - right, bottom - top);
}

/** By blending, which every browser has; `filter` not. */
function makeGray(context: CanvasRenderingContext2D, width: number, height: number): void {
  context.globalCompositeOperation = 'saturation';
  context.fillStyle = '#888';
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = 'source-over';
}

function contextOf(width: number, height: number): CanvasRenderingContext2D {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  return canvas.getContext('2d')!;
}

import { COLORMAP_TABLES } from '../pictures/colormap-tables.js';
import type { Colormap } from '../pictures/colormaps.js';
import { zoomed } from './map-canvas.js';
import { WHOLE, type Look, type Zoom } from './state.js';
import { percent } from './words.js';

interface SliderProps {
  readonly label: string;
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly step: number;
  readonly shown: string;
  readonly hint?: string | undefined;
  readonly onValue: (value: number) => void;
}

export function Slider({ label, value, min, max, step, shown, hint, onValue }: SliderProps) {
  return (
    <label class="slider" title={hint}>
      <span>{label}</span>
      <input
        type="range"
        min={min}
        max={max}
        step={step}
        value={value}
        aria-valuetext={shown}
        onInput={(event) => onValue(Number(event.currentTarget.value))}
      />
      {/* Last, since a label is that of the first such element within it. */}
      <output>{shown}</output>
    </label>
  );
}

const VIEWS = [
  ['heat', 'Heat'],
  ['contour', 'Contour'],
  ['mask', 'Mask'],
] as const;

interface Props {
  readonly look: Look;
  readonly zoom: Zoom;
  readonly onLook: (look: Look) => void;
  readonly onZoom: (zoom: Zoom) => void;
}

/** What only recolors: nothing here asks the service. */
export function LookControls({ look, zoom, onLook, onZoom }: Props) {
  return (
    // On a phone the maps come first.
    <details class="look" open={matchMedia('(min-width: 52.01rem)').matches}>
      <summary>View and colors</summary>
      <fieldset class="choice">
        <legend>View</legend>
        {VIEWS.map(([view, label]) => (
          <label key={view}>
            <input
              type="radio"
              name="view"
              checked={look.view === view}
              // A mask and a line need a height to cut at.
              onChange={() =>
                onLook({ ...look, view, threshold: view === 'mask' && look.threshold === 0 ? 0.5 : look.threshold })
              }
            />
            <span>{label}</span>
          </label>
        ))}
      </fieldset>
      <Slider
        label="Opacity"
        value={look.opacity}
        min={0}
        max={1}
        step={0.01}
        shown={percent(look.opacity)}
        onValue={(opacity) => onLook({ ...look, opacity })}
      />
      <Slider
        label="Threshold"
        value={look.threshold}
        min={0}
        max={0.99}
        step={0.01}
        shown={look.threshold === 0 ? 'none' : percent(look.threshold)}
        hint="Share of the range below which nothing is painted"
        onValue={(threshold) => onLook({ ...look, threshold })}
      />
      <label class="field">
        <span>Colors</span>
        <select
          value={look.colormap}
          onChange={(event) => onLook({ ...look, colormap: event.currentTarget.value as Colormap })}
        >
          {Object.keys(COLORMAP_TABLES).map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
      <div class="zoom" role="group" aria-label="Zoom of all pictures">
        <button
          type="button"
          onClick={() => onZoom(zoomed(zoom, 1 / 1.5))}
          disabled={zoom.scale === 1}
          aria-label="Zoom out"
        >
          −
        </button>
        <output>{zoom.scale.toFixed(1)} ×</output>
        <button type="button" onClick={() => onZoom(zoomed(zoom, 1.5))} aria-label="Zoom in">
          +
        </button>
        <button type="button" onClick={() => onZoom(WHOLE)} disabled={zoom.scale === 1}>
          All
        </button>
      </div>
    </details>
  );
}

/** The page of one file: maps that were computed once, painted as one likes. */
import { render } from 'preact';
import { useMemo, useState } from 'preact/hooks';

import type { ViewFile, ViewPanel } from '../pictures/view-file.js';
import { Legend } from './legend.js';
import { LookControls } from './look-controls.js';
import { MapCanvas } from './map-canvas.js';
import { floatsOf, scaleOf, type MapValues } from './paint.js';
import { Predictions } from './predictions.js';
import { WHOLE, type Look, type Zoom } from './state.js';
import { says, saysNot } from './words.js';

interface CardProps {
  readonly panel: ViewPanel;
  readonly bitmap: ImageBitmap;
  readonly look: Look;
  readonly zoom: Zoom;
  readonly onZoom: (zoom: Zoom) => void;
}

function Card({ panel, bitmap, look, zoom, onZoom }: CardProps) {
  const map = useMemo<MapValues>(() => ({ data: floatsOf(panel.b64), shape: panel.shape }), [panel]);
  const scale = useMemo(() => (panel.state === 'ok' ? scaleOf([map]) : null), [map]);
  const { target, model, method: name, family, isClassSpecific } = panel;
  const told = { model, method: { name, family, isClassSpecific }, map: panel, scale };
  return (
    <article class="panel" aria-label={`${name} of ${model}`}>
      <header>
        <h2>{model}</h2>
        <span>{name}</span>
      </header>
      <MapCanvas
        {...{ bitmap, map, scale, look, zoom, onZoom }}
        box={panel.box}
        label={`${name} of ${model}. ${says(told)}`}
      />
      {scale !== null && <Legend scale={scale} look={look} range={rangeOf(map)} />}
      <p class="says">
        {says(told)} <span>{saysNot(told)}</span>
      </p>
      <Predictions
        predictions={panel.predictions}
        target={{ of: target.index, ...(target.against && { against: target.against.index }) }}
        isProbability={panel.isProbability}
        onTarget={null}
      />
      <div class="code">
        <pre tabIndex={0} aria-label="Command that repeats this map">
          {panel.command}
        </pre>
      </div>
    </article>
  );
}

function rangeOf({ data }: MapValues): [number, number] {
  return [data.reduce((a, b) => Math.min(a, b)), data.reduce((a, b) => Math.max(a, b))];
}

function View({ view, bitmaps }: { readonly view: ViewFile; readonly bitmaps: readonly ImageBitmap[] }) {
  const [look, setLook] = useState(view.look as Look);
  const [zoom, setZoom] = useState(WHOLE);
  return (
    <>
      <header class="top">
        <h1>{view.pictures.map(({ name }) => name).join(', ')}</h1>
      </header>
      <div class="columns">
        <aside>
          <LookControls look={look} zoom={zoom} onLook={setLook} onZoom={setZoom} />
        </aside>
        <main>
          <div class="panels">
            {view.panels.map((panel, i) => (
              <Card key={i} panel={panel} bitmap={bitmaps[panel.picture]!} look={look} zoom={zoom} onZoom={setZoom} />
            ))}
          </div>
        </main>
      </div>
    </>
  );
}

async function start(): Promise<void> {
  const view = JSON.parse(document.getElementById('view')!.textContent) as ViewFile;
  document.title = `${view.pictures[0]?.name ?? 'maps'}, explained by sightline`;
  const bitmaps = await Promise.all(
    view.pictures.map(async ({ b64, type, width, height }) => {
      const bytes = Uint8Array.from(atob(b64), (character) => character.charCodeAt(0));
      // Boxes count pixels of the picture as it was, which may be larger than the one that is kept.
      return createImageBitmap(new Blob([bytes], { type }), { resizeWidth: width, resizeHeight: height });
    }),
  );
  render(<View view={view} bitmaps={bitmaps} />, document.getElementById('page')!);
}

void start();

import type { DrawnPanel } from './panel.js';
import { savePictures, type PictureType } from './pictures.js';
import { useCopy } from './repeating.js';
import { fileName, save, viewFileOf } from './share.js';
import type { Look, Shown } from './state.js';

interface Props {
  readonly picture: Shown;
  readonly look: Look;
  readonly all: () => readonly DrawnPanel[];
}

/** Files of all maps together, and the link to them. */
export function ShareView({ picture, look, all }: Props) {
  const { done, copy } = useCopy();
  const base = fileName(picture.name, 'sightline');
  const savePicture = (type: PictureType): void => {
    const panels = all().map(({ drawn }) => drawn());
    if (panels.length > 0) savePictures([panels], look, type, base);
  };
  const saveHtml = async (): Promise<void> => {
    const views = all().map(({ view }) => view());
    save(new Blob([await viewFileOf(picture, views, look)], { type: 'text/html' }), `${base}.html`);
  };
  return (
    <div class="share" role="group" aria-label="All maps together">
      <span class="hint">All maps together</span>
      <button type="button" onClick={() => savePicture('image/png')}>
        PNG
      </button>
      <button type="button" onClick={() => savePicture('image/webp')}>
        WebP
      </button>
      <button type="button" onClick={() => void saveHtml()}>
        One HTML file
      </button>
      <button type="button" onClick={() => copy(location.href, 'link')}>
        Copy the link
      </button>
      <span role="status" class="hint">
        {done}
      </span>
    </div>
  );
}

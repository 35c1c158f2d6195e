import { useRef } from 'preact/hooks';

import { PanelCard, type DrawnPanel } from './panel.js';
import { ShareView } from './share-view.js';
import { firstMethod, type Change, type Shown, type State, type Target } from './state.js';

/** Maps side by side. */
export function Compare({
  state,
  change,
  picture,
}: {
  readonly state: State;
  readonly change: Change;
  readonly picture: Shown;
}) {
  const { panels, models, methods, targets, look, zoom } = state;
  /** Models of the same classes are asked about the same one. */
  const chooseTarget = (model: string, target: Target): void => {
    const labels = models.find(({ name }) => name === model)!.labels;
    const same = models.filter(
      (each) => each.labels.length === labels.length && each.labels.every((label, i) => label === labels[i]),
    );
    change({ targets: { ...targets, ...Object.fromEntries(same.map(({ name }) => [name, target])) } });
  };
  const shown = useRef(new Map<number, DrawnPanel>());
  return (
    <div class="panels">
      {panels.map((panel) => (
        <PanelCard
          key={panel.id}
          {...{ panel, models, methods, picture, look, zoom }}
          target={targets[panel.model] ?? null}
          canClose={panels.length > 1}
          onPanel={(next) => change({ panels: panels.map((each) => (each.id === next.id ? next : each)) })}
          onTarget={(target) => chooseTarget(panel.model, target)}
          onZoom={(next) => change({ zoom: next })}
          onDrawn={(drawn) => {
            shown.current.set(panel.id, drawn);
            return () => void shown.current.delete(panel.id);
          }}
          onClose={() => change({ panels: panels.filter((each) => each.id !== panel.id) })}
        />
      ))}
      <ShareView {...{ picture, look }} all={() => panels.flatMap(({ id }) => shown.current.get(id) ?? [])} />
      <button
        type="button"
        class="add"
        onClick={() => {
          const model = models.find(({ name }) => !panels.some((panel) => panel.model === name)) ?? models[0]!;
          const id = 1 + Math.max(0, ...panels.map((panel) => panel.id));
          change({ panels: [...panels, { id, model: model.name, method: firstMethod(model), options: {} }] });
        }}
      >
        Add a map
      </button>
    </div>
  );
}

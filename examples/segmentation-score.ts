/** Explains a segmentation model by a score of one's own: the sum of one class's scores over a region of its mask. */
import { symbolic, type Input, type Model } from 'sightline';

/** Rows and columns of the mask, the last ones not included. */
export interface Region {
  readonly top: number;
  readonly left: number;
  readonly height: number;
  readonly width: number;
}

/** For a model whose output is [N, classes, H, W]. The map says which pixels raise the class's scores in the region. */
export async function explainRegion(
  model: Model,
  image: Input,
  classIndex: number,
  region: Region,
): Promise<{ score: number; map: Float32Array }> {
  const score = ({ output }: symbolic.Run): symbolic.Value => {
    const mask = symbolic.select(output, output.axes[1]!, classIndex);
    const [rows, columns] = mask.axes.slice(1) as [string, string];
    const part = symbolic.narrow(
      symbolic.narrow(mask, rows, region.top, region.height),
      columns,
      region.left,
      region.width,
    );
    return symbolic.sum(part, [rows, columns]);
  };
  const [explained] = await model.explain(image, { method: 'gradient', score, raw: true });
  const map = explained!.maps[0]!;
  return { score: map.target.score, map: map.data };
}

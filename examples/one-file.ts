/** Explains one file: what is on it, and which pixels say so. `node one-file.js photo.jpg out.png` */
import { Model } from 'sightline';

export async function explainFile(photo: string, out: string): Promise<string> {
  const model = await Model.load('efficientnet-lite0');
  try {
    const [explained] = await model.explain(photo, { method: 'cam' });
    const { predictions, maps } = explained!;
    await maps[0]!.overlay({ legend: true }).toFile(out);
    return predictions[0]!.label;
  } finally {
    await model.close();
  }
}

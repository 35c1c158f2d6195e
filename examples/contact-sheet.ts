/** One picture that compares methods: a row for each photo, a column for each method. */
import { contactSheet, type MethodName, type Model, type NamedOptions, type SheetCell } from 'sightline';

export async function compareMethods(
  model: Model,
  photos: readonly string[],
  methods: readonly MethodName[],
  out: string,
): Promise<void> {
  // All methods read from the same forward pass.
  const requests = methods.map((method) => ({ method }) as NamedOptions<MethodName>);
  const explained = await model.explain(photos, requests);
  const rows = await Promise.all(
    explained.map((ofPhoto) =>
      Promise.all(
        ofPhoto.map(async ({ maps: [map] }): Promise<SheetCell> => {
          const { label, score } = map!.target;
          return { image: await map!.overlay().toBuffer(), caption: `${label} ${(100 * score).toFixed(0)} %` };
        }),
      ),
    ),
  );
  const sheet = await contactSheet(rows, { title: 'What the model looked at', columnHeads: methods, cellWidth: 192 });
  await sheet.toFile(out);
}

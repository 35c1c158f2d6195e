/** Bilinear upsampling with half-pixel centres, as a matrix [to, from]. */
function upsampling(from: number, to: number): number[][] {
  return Array.from({ length: to }, (_, i) => {
    const place = Math.max(0, ((i + 0.5) * from) / to - 0.5);
    return Array.from({ length: from }, (_, j) => Math.max(0, 1 - Math.abs(Math.min(place, from - 1) - j)));
  });
}

/** A row-major grid, upsampled. */
export function upsampled(
  grid: ArrayLike<number>,
  [rows, columns]: readonly [number, number],
  [height, width]: readonly [number, number],
): number[] {
  const [down, across] = [upsampling(rows, height), upsampling(columns, width)];
  return down.flatMap((fromRow) =>
    across.map((fromColumn) =>
      fromRow.reduce(
        (sum, a, row) => sum + a * fromColumn.reduce((part, b, column) => part + b * grid[row * columns + column]!, 0),
        0,
      ),
    ),
  );
}

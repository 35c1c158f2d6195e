const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

/**
 * The size that a PNG's first chunk declares, or null when the bytes do not begin as a PNG.
 *
 * libvips reads no header of a file that ends before its first pixels, yet that is what a minimal decompression bomb
 * looks like; with this the refusal can name the size.
 */
export function declaredPngSize(bytes: Uint8Array): { width: number; height: number } | null {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(24, bytes.byteLength));
  if (head.length < 24 || !head.subarray(0, 8).equals(SIGNATURE) || head.toString('latin1', 12, 16) !== 'IHDR') {
    return null;
  }
  return { width: head.readUInt32BE(16), height: head.readUInt32BE(20) };
}

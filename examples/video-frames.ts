/**
 * Explains the frames of a video as they come (raw RGB, such as `ffmpeg -i in.mp4 -f rawvideo -pix_fmt rgb24 -`), in
 * order.
 */
import type { Readable } from 'node:stream';
import type { Explanation, Model } from 'sightline';

const AHEAD = 4;

export async function* explainFrames(
  model: Model,
  video: Readable,
  width: number,
  height: number,
): AsyncGenerator<Explanation> {
  const waiting: Promise<Explanation[]>[] = [];
  for await (const data of framesOf(video, width * height * 3)) {
    const asked = model.explain({ data, width, height, channels: 3 }, { method: 'grad-cam', targets: ['top1'] });
    // Its failure is seen when its turn comes.
    asked.catch(() => undefined);
    waiting.push(asked);
    // Frames that wait become one batch; more of them would only hold memory.
    if (waiting.length >= AHEAD) yield (await waiting.shift()!)[0]!;
  }
  for (const asked of waiting) yield (await asked)[0]!;
}

/** Cuts a stream into frames, however its chunks fall. A frame that is cut off at the end is dropped. */
async function* framesOf(video: Readable, bytes: number): AsyncGenerator<Uint8Array> {
  let frame = new Uint8Array(bytes);
  let filled = 0;
  for await (const chunk of video as AsyncIterable<Uint8Array>) {
    for (let at = 0; at < chunk.length;) {
      const taken = Math.min(bytes - filled, chunk.length - at);
      frame.set(chunk.subarray(at, at + taken), filled);
      filled += taken;
      at += taken;
      if (filled < bytes) continue;
      yield frame;
      frame = new Uint8Array(bytes);
      filled = 0;
    }
  }
}

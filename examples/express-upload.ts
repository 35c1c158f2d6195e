/**
 * Takes uploads in Express 5 (field `image` of a form) and answers with predictions, or with the overlay for `?as=png`.
 */
import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import multer from 'multer';
import { SightlineError, type Model } from 'sightline';

const STATUS: Partial<Record<SightlineError['code'], number>> = {
  INVALID_IMAGE: 415,
  INVALID_INPUT: 400,
  QUEUE_FULL: 503,
};

export function createApp(model: Model): Express {
  const app = express();
  const upload = multer({ storage: multer.memoryStorage(), limits: { fileSize: 10 * 1024 * 1024, files: 1 } });

  app.post('/explain', upload.single('image'), async (request: Request, response: Response) => {
    if (request.file === undefined) {
      response.status(400).json({ error: 'Send a form with a file in the field "image".' });
      return;
    }
    // Who closes the page no longer waits for the answer.
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    const [explained] = await model.explain(request.file.buffer, {
      method: 'cam',
      maxPixels: 50_000_000,
      signal: gone.signal,
    });
    const { predictions, maps } = explained!;
    if (request.query['as'] === 'png') response.type('png').send(await maps[0]!.overlay().toBuffer());
    else response.json({ predictions, peak: maps[0]!.peak() });
  });

  app.use((error: unknown, _request: Request, response: Response, next: NextFunction) => {
    if (response.headersSent || !(error instanceof SightlineError)) next(error);
    else response.status(STATUS[error.code] ?? 500).json({ code: error.code, error: error.message });
  });
  return app;
}

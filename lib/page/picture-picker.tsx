import { useEffect, useRef, useState } from 'preact/hooks';

import type { Sample, Shown } from './state.js';

interface Props {
  readonly picture: Shown | null;
  readonly onFile: (file: Blob, name: string) => void;
  readonly onSample: (sample: Sample) => void;
}

/** Samples, and ways to bring a picture of one's own: pick, drop, paste, photograph. */
export function PicturePicker({ picture, onFile, onSample }: Props) {
  const input = useRef<HTMLInputElement>(null);
  const [isOver, setOver] = useState(false);
  const [isPhotographing, setPhotographing] = useState(false);
  useEffect(() => {
    const over = (event: DragEvent): void => {
      if (event.dataTransfer?.types.includes('Files') !== true) return;
      event.preventDefault();
      setOver(true);
    };
    const leave = (event: DragEvent): void => {
      if (event.relatedTarget === null) setOver(false);
    };
    const drop = (event: DragEvent): void => {
      event.preventDefault();
      setOver(false);
      const file = event.dataTransfer?.files[0];
      if (file !== undefined) onFile(file, file.name);
    };
    const paste = (event: ClipboardEvent): void => {
      const file = event.clipboardData?.files[0];
      if (file !== undefined) onFile(file, file.name);
    };
    addEventListener('dragover', over);
    addEventListener('dragleave', leave);
    addEventListener('drop', drop);
    addEventListener('paste', paste);
    return () => {
      removeEventListener('dragover', over);
      removeEventListener('dragleave', leave);
      removeEventListener('drop', drop);
      removeEventListener('paste', paste);
    };
  }, [onFile]);
  return (
    <section class={isOver ? 'pictures over' : 'pictures'} aria-label="Picture">
      <div class="samples" role="group" aria-label="Samples">
        {SAMPLES.map((sample) => (
          <button
            key={sample.id}
            type="button"
            aria-pressed={picture?.sample?.id === sample.id}
            title={`${sample.title}. ${sample.credit}`}
            onClick={() => onSample(sample)}
          >
            <img src={`page/${sample.thumb}`} alt={sample.title} width={96} height={96} />
          </button>
        ))}
      </div>
      <div class="own">
        <input
          ref={input}
          type="file"
          accept="image/jpeg,image/png,image/webp,image/avif,image/gif"
          aria-label="Picture of your own"
          onChange={(event) => {
            const file = event.currentTarget.files?.[0];
            if (file !== undefined) onFile(file, file.name);
            // The same file may be chosen again.
            event.currentTarget.value = '';
          }}
        />
        <button type="button" class="main" onClick={() => input.current!.click()}>
          Choose a picture
        </button>
        <button type="button" onClick={() => setPhotographing(true)}>
          Camera
        </button>
        <span class="hint">or drop one here, or paste it</span>
      </div>
      {isPhotographing && (
        <Camera
          onPhoto={(photo) => {
            setPhotographing(false);
            onFile(photo, 'photo.jpg');
          }}
          onClose={() => setPhotographing(false)}
        />
      )}
    </section>
  );
}

interface CameraProps {
  readonly onPhoto: (photo: Blob) => void;
  readonly onClose: () => void;
}

function Camera({ onPhoto, onClose }: CameraProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const video = useRef<HTMLVideoElement>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [isReady, setReady] = useState(false);
  useEffect(() => {
    dialog.current!.showModal();
    let stream: MediaStream | null = null;
    let isGone = false;
    const start = async (): Promise<void> => {
      if (navigator.mediaDevices === undefined) {
        setProblem('Browsers give cameras only to pages that come by https or from this machine itself.');
        return;
      }
      try {
        stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
      } catch {
        setProblem('There is no camera, or the browser was not allowed to use it.');
        return;
      }
      if (isGone) stop(stream);
      else video.current!.srcObject = stream;
    };
    void start();
    return () => {
      isGone = true;
      if (stream !== null) stop(stream);
    };
  }, []);
  const take = (): void => {
    const { videoWidth: width, videoHeight: height } = video.current!;
    const canvas = document.createElement('canvas');
    canvas.width = width;
    canvas.height = height;
    canvas.getContext('2d')!.drawImage(video.current!, 0, 0);
    canvas.toBlob((photo) => photo !== null && onPhoto(photo), 'image/jpeg', 0.95);
  };
  return (
    <dialog ref={dialog} aria-label="Camera" onClose={onClose}>
      {problem === null ? (
        <video ref={video} autoplay muted playsInline onLoadedData={() => setReady(true)} />
      ) : (
        <p role="alert">{problem}</p>
      )}
      <div class="own">
        <button type="button" class="main" disabled={!isReady} onClick={take}>
          Take the photo
        </button>
        <button type="button" onClick={() => dialog.current!.close()}>
          Close
        </button>
      </div>
    </dialog>
  );
}

function stop(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}

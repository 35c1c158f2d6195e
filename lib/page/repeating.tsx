import { useState } from 'preact/hooks';

/** Copies text, and says whether it could. */
export function useCopy(): { readonly done: string; readonly copy: (text: string, what: string) => void } {
  const [done, setDone] = useState('');
  const copy = (text: string, what: string): void => {
    // Only pages that come by https or from this machine itself have a clipboard.
    const copied = navigator.clipboard?.writeText(text) ?? Promise.reject(new Error('none'));
    void copied.then(
      () => setDone(`The ${what.toLowerCase()} is copied.`),
      () => setDone('This browser lets nothing be copied here; select the text instead.'),
    );
  };
  return { done, copy };
}

interface Props {
  readonly what: 'Command' | 'Code';
  readonly of: 'map' | 'picture';
  readonly text: string;
  readonly copy: (text: string, what: string) => void;
}

/** What gives the same elsewhere. */
export function Repeating({ what, of, text, copy }: Props) {
  return (
    <div class="code">
      <pre tabIndex={0} aria-label={`${what} that repeats this ${of}`}>
        {text}
      </pre>
      <button type="button" class="quiet" onClick={() => copy(text, what)}>
        Copy the {what.toLowerCase()}
      </button>
    </div>
  );
}

import { SightlineError } from '../support/errors.js';

/** A full commit of git, as the hub names snapshots. */
export function isCommit(text: string): boolean {
  return /^[0-9a-f]{40}$/.test(text);
}

/** What the hub calls a blob: SHA-1 of a small file as git sees it, SHA-256 of a large one. */
export function isBlobName(text: string): boolean {
  return /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text);
}

/** Whether the hub would allow this as `org/name`. */
export function isRepository(text: string): boolean {
  const parts = text.split('/');
  return (
    parts.length === 2 &&
    parts.every(isRepositoryPart) &&
    !text.includes('--') &&
    !text.includes('..') &&
    !text.endsWith('.git')
  );
}

/** Letters, digits, `-`, `_`, `.`, at most 96 of them; neither `-` nor `.` at an end. */
function isRepositoryPart(part: string): boolean {
  return /^(?![-.])[A-Za-z0-9_.-]{1,96}(?<![-.])$/.test(part);
}

/** @throws SightlineError INVALID_OPTION for what the hub does not allow as the name of a repository. */
export function checkRepository(text: string): void {
  if (isRepository(text)) return;
  throw new SightlineError(
    'INVALID_OPTION',
    `${JSON.stringify(text)} is no repository of the hub; give org/name, made of letters, digits, "-", "_" and "." (neither "--" nor "..").`,
  );
}

/**
 * A branch, a tag, `refs/pr/1` or a commit. It becomes a path below `refs/`, so it must not lead out of there.
 *
 * @throws SightlineError INVALID_OPTION
 */
export function checkRevision(text: string): void {
  const parts = text.split('/');
  // git's own rule is a little wider; what is refused here is not in use on the hub.
  const isSafe =
    text.length <= 200 &&
    parts.every(
      (part) =>
        /^[A-Za-z0-9_+@=,%-][A-Za-z0-9_.+@=,%-]*$/.test(part) && !part.includes('..') && !part.endsWith('.lock'),
    );
  if (isSafe) return;
  throw new SightlineError(
    'INVALID_OPTION',
    `${JSON.stringify(text)} is no revision; give a branch, a tag or a commit, such as main.`,
  );
}

/**
 * `name@revision` in its two parts; a name without `@` has no revision. No name of the catalog or of the hub has an
 * `@`.
 */
export function splitRevision(text: string): { readonly name: string; readonly revision: string | undefined } {
  const at = text.indexOf('@');
  return at < 0 ? { name: text, revision: undefined } : { name: text.slice(0, at), revision: text.slice(at + 1) };
}

/** How a user names what he asked for: with the revision where he gave one. */
export function joinRevision(name: string, revision: string | undefined): string {
  return revision === undefined ? name : `${name}@${revision}`;
}

/** Whether a file's path in a repository stays inside of it on every system. */
export function isFileInside(path: string): boolean {
  return (
    path.length > 0 &&
    path.length <= 500 &&
    path.split('/').every((part) => part !== '' && part !== '.' && part !== '..' && !/[\\:\0]/.test(part))
  );
}

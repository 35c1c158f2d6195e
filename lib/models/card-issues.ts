import { shown } from '../support/cut.js';

/** What zod says of one field. */
interface Issue {
  readonly code?: string | undefined;
  readonly path?: PropertyKey[] | undefined;
  readonly message?: string | undefined;
  readonly expected?: unknown;
  readonly keys?: string[] | undefined;
  readonly errors?: Issue[][] | undefined;
}

/** The first fault of a card, which its message names. */
export function firstIssue(issues: readonly Issue[]): { field: string; message: string } {
  const issue = issues[0]!;
  return { field: fieldPath(issue.path ?? []), message: issue.message ?? 'it does not fit' };
}

/** zod's path as people write it: `input.mean[2]`; the card itself is "its top level". */
export function fieldPath(path: readonly PropertyKey[]): string {
  const text = path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('');
  return text === '' ? 'its top level' : `"${text.replace(/^\./, '')}"`;
}

/** zod's messages speak to programmers ("Invalid input: ..."); these speak to whoever writes a card. */
export function describeIssue(
  issue: Issue & { input?: unknown; values?: unknown[]; minimum?: unknown; maximum?: unknown },
): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined
        ? 'it is missing'
        : `${String(issue.expected)} is expected, not ${shown(issue.input)}`;
    case 'invalid_value':
      return issue.input === undefined
        ? 'it is missing'
        : `${(issue.values ?? []).map((value) => JSON.stringify(value)).join(' or ')} is expected, not ${shown(issue.input)}`;
    case 'unrecognized_keys':
      return `there is no field ${(issue.keys ?? []).map((key) => JSON.stringify(key)).join(', ')}`;
    case 'invalid_union':
      return issue.input === undefined ? 'it is missing' : `${shown(issue.input)} has none of the allowed forms`;
    default:
      return undefined;
  }
}

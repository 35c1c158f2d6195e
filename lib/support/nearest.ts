/**
 * Number of single-character edits between two names, where swapping two neighbors counts as one edit
 * (optimal string alignment), because `gard-cam` is the commonest kind of slip.
 */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      let best = Math.min(substitution, last[j]! + 1, row[j - 1]! + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, beforeLast[j - 2]! + 1);
      }
      row.push(best);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}

/** Of names that are compared, in characters. */
const LONGEST = 200;

/**
 * The known names that a mistyped one may have meant, best first, at most `limit`.
 *
 * A name qualifies when it holds the asked one (or the reverse), or when at most 40 % of the longer name differs;
 * case is ignored. Empty when nothing is near: no suggestion is better than a silly one.
 */
export function nearestNames(name: string, known: Iterable<string>, limit = 3): string[] {
  // A text that long is no name; comparing it would take seconds.
  if (name.length > LONGEST) return [];
  const asked = name.toLowerCase();
  const scored: { candidate: string; score: number }[] = [];
  for (const candidate of new Set(known)) {
    const other = candidate.toLowerCase();
    const longer = Math.max(asked.length, other.length);
    if (asked.length === 0 || other.length === 0) continue;
    const distance = editDistance(asked, other) / longer;
    const contains = asked.length >= 3 && other.length >= 3 && (other.includes(asked) || asked.includes(other));
    if (distance <= 0.4 || contains) scored.push({ candidate, score: contains ? Math.min(distance, 0.4) : distance });
  }
  // Sorting by name second keeps the answer independent of the order in which names were listed.
  scored.sort((x, y) => x.score - y.score || (x.candidate < y.candidate ? -1 : 1));
  // A clear favorite stands alone; others are named only when they are about as near.
  const worst = (scored[0]?.score ?? 0) + 0.15;
  return scored
    .filter(({ score }) => score <= worst)
    .slice(0, limit)
    .map(({ candidate }) => candidate);
}

/** The sentence that follows an error about a name: `Did you mean "a" or "b"?`, the known names, or nothing. */
export function suggestion(name: string, known: Iterable<string>): string {
  const all = [...known];
  const near = nearestNames(name, all).map((each) => `"${each}"`);
  if (near.length > 0) return `Did you mean ${listed(near, 'or')}?`;
  if (all.length === 0) return '';
  if (all.length <= 12) return `Known: ${listed(all, 'and')}.`;
  return `Known: ${all.slice(0, 12).join(', ')} and ${all.length - 12} more.`;
}

function listed(items: string[], word: 'and' | 'or'): string {
  return items.length < 2 ? items.join('') : `${items.slice(0, -1).join(', ')} ${word} ${items.at(-1)}`;
}

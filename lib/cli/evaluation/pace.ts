import { duration } from '../words.js';

/** How far an evaluation is, and how long the rest will take at the pace of each method so far. */
export class Pace {
  readonly #methods: { seconds: number; judged: number; over: number }[];

  constructor(
    private pictures: number,
    methods: number,
    private readonly now: () => number = () => performance.now() / 1000,
  ) {
    this.#methods = Array.from({ length: methods }, () => ({ seconds: 0, judged: 0, over: 0 }));
  }

  /** More pictures than were known of, or fewer. */
  expect(more: number): void {
    this.pictures += more;
  }

  /** Pictures of a method that nothing is left to do for: kept from before, or set aside. */
  skip(method: number, pictures: number): void {
    this.#methods[method]!.over += pictures;
  }

  /** What a method is doing: call the result with the number of its pictures that are judged by now. */
  start(method: number): (judged: number) => void {
    const since = this.now();
    const { seconds, judged: before } = this.#methods[method]!;
    return (judged) =>
      Object.assign(this.#methods[method]!, { seconds: seconds + this.now() - since, judged: before + judged });
  }

  /** Null before anything was measured. A method that was not yet at work is taken to be as slow as the others. */
  secondsLeft(): number | null {
    const known = this.#methods.filter(({ judged }) => judged > 0);
    if (known.length === 0) return null;
    const paceOf = ({ seconds, judged }: { seconds: number; judged: number }): number => seconds / judged;
    const others = known.reduce((sum, each) => sum + paceOf(each), 0) / known.length;
    return this.#methods.reduce(
      (sum, each) =>
        sum + Math.max(0, this.pictures - each.judged - each.over) * (each.judged > 0 ? paceOf(each) : others),
      0,
    );
  }

  line(): string {
    const done = this.#methods.reduce((sum, { judged, over }) => sum + judged + over, 0);
    const left = this.secondsLeft();
    const rest = left === null || left === 0 ? '' : `, about ${duration(left)} left`;
    return `${done} of ${this.pictures * this.#methods.length} maps judged${rest}`;
  }
}

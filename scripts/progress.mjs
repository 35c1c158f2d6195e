/**
 * @param {number} bytes
 * @returns {string} such as `126.4 MB`
 */
export function megabytes(bytes) {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/**
 * Shows how far a long transfer is: one line that rewrites itself on a terminal, else at most a line for each tenth of
 * the whole, and one every ten seconds while that lasts longer, so that logs stay short.
 */
export class Progress {
  #started = performance.now();
  #shownAt = performance.now();
  #shownTenth = -1;
  #done = 0;

  /**
   * @param {string} label
   * @param {number | null} total bytes, null when unknown
   * @param {NodeJS.WriteStream} [stream]
   */
  constructor(label, total, stream = process.stderr) {
    this.label = label;
    this.total = total;
    this.stream = stream;
  }

  /** @param {number} done bytes so far */
  update(done) {
    this.#done = done;
    const now = performance.now();
    const tenth = this.total ? Math.floor((10 * done) / this.total) : -1;
    const due = this.stream.isTTY
      ? now - this.#shownAt > 100
      : (tenth > this.#shownTenth && now - this.#shownAt > 1000) || now - this.#shownAt > 10_000;
    if (!due) return;
    this.#shownAt = now;
    this.#shownTenth = tenth;
    this.stream.write(this.stream.isTTY ? `\r\x1b[2K${this.#line(now)}` : `${this.#line(now)}\n`);
  }

  /** Shows the last state and ends the line. */
  end() {
    if (!this.stream.isTTY && this.#shownTenth === 10) return;
    const line = this.#line(performance.now());
    this.stream.write(this.stream.isTTY ? `\r\x1b[2K${line}\n` : `${line}\n`);
  }

  /** @param {number} now */
  #line(now) {
    const seconds = (now - this.#started) / 1000;
    const amount = this.total
      ? `${megabytes(this.#done)} of ${megabytes(this.total)} (${Math.min(100, Math.floor((100 * this.#done) / this.total))} %)`
      : megabytes(this.#done);
    return `  ${this.label}: ${amount}, ${megabytes(this.#done / Math.max(seconds, 0.001))}/s`;
  }
}

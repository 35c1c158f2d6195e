/** What comes in turn: at most `capacity` is inside at once. Whoever weighs more than that goes in alone. */
export class Gate {
  private inside = 0;
  private readonly waiting: { readonly weight: number; readonly enter: () => void }[] = [];

  constructor(private readonly capacity: number) {}

  /**
   * Waits for room, first come, first served.
   *
   * @param onLeave registers what ends the waiting: it gets a function to call with the reason
   * @returns a function that gives the room back; it may be called twice
   */
  enter(weight: number, onLeave: (leave: (reason: unknown) => void) => () => void): Promise<() => void> {
    const held = Math.min(weight, this.capacity);
    return new Promise((resolve, reject) => {
      const entry = {
        weight: held,
        enter: () => {
          stop();
          let isInside = true;
          resolve(() => {
            if (!isInside) return;
            isInside = false;
            this.inside -= held;
            this.admit();
          });
        },
      };
      const stop = onLeave((reason) => {
        const at = this.waiting.indexOf(entry);
        if (at < 0) return;
        this.waiting.splice(at, 1);
        stop();
        reject(reason);
        this.admit();
      });
      this.waiting.push(entry);
      this.admit();
    });
  }

  private admit(): void {
    for (
      let first = this.waiting[0];
      first !== undefined && this.inside + first.weight <= this.capacity;
      first = this.waiting[0]
    ) {
      this.waiting.shift();
      this.inside += first.weight;
      first.enter();
    }
  }
}

// Slow motion: a cursor over timesteps, moved by a clock, a button or a hand.

const SECONDS_A_TIMESTEP = 1.6;
const SKIPPED = 0.5; // what is not computed passes faster

export class Player {
  /** Called with the cursor whenever it moves; and when it begins or ends to play. */
  moved = () => {};
  turned = () => {};
  #cursor = 0;
  #frame = 0;
  #last = 0;

  constructor({ still }) {
    this.still = still; // () => whether motion is unwanted
    this.length = 0;
    this.exit = 0;
  }

  get playing() {
    return this.#frame !== 0;
  }

  get cursor() {
    return this.#cursor;
  }

  /** How many times slower than `seconds` a timestep. */
  slower(seconds) {
    return SECONDS_A_TIMESTEP / seconds;
  }

  to(cursor) {
    this.#cursor = Math.min(this.length, Math.max(0, cursor));
    this.moved(this.#cursor);
  }

  step(by) {
    this.pause();
    // Behind the exit nothing more is to be seen.
    if (by > 0) this.to(this.#cursor >= this.exit ? this.length : Math.floor(this.#cursor) + 1);
    else this.to(Math.ceil(Math.min(this.#cursor, this.exit)) - 1);
  }

  play() {
    if (this.#cursor >= this.length) this.to(0);
    this.#last = performance.now();
    this.#frame = requestAnimationFrame((now) => this.#tick(now));
    this.turned(true);
  }

  pause() {
    if (!this.playing) return;
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.turned(false);
  }

  #tick(now) {
    const seconds = SECONDS_A_TIMESTEP * (this.#cursor >= this.exit ? SKIPPED : 1);
    const passed = Math.max(0, now - this.#last) / 1000 / seconds;
    if (this.still()) {
      // Whole timesteps, without anything in between.
      if (passed >= 1) {
        this.#last = now;
        this.to(Math.floor(this.#cursor) + 1);
      }
    } else {
      this.#last = now;
      this.to(this.#cursor + passed);
    }
    if (this.#cursor >= this.length) {
      this.#frame = 0;
      this.turned(false);
      return;
    }
    this.#frame = requestAnimationFrame((next) => this.#tick(next));
  }
}

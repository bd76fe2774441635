// Slow motion: a cursor over timesteps, moved by a clock, a button or a hand.

import { short } from "./numbers.js";

const SECONDS_A_TIMESTEP = 1.6;
const SKIPPED = 0.5; // what is not computed passes faster

export class Player {
  /** Called with the cursor whenever it moves. */
  moved = () => {};
  #play;
  #scrubber;
  #cursor = 0;
  #frame = 0;
  #last = 0;

  /** @param still () => whether motion is unwanted. */
  constructor(root, still) {
    this.still = still;
    this.length = 0;
    this.exit = 0;
    const [back, play, forth] = root.querySelectorAll("button");
    back.addEventListener("click", () => this.step(-1));
    play.addEventListener("click", () => (this.playing ? this.pause() : this.play()));
    forth.addEventListener("click", () => this.step(1));
    this.#play = play;
    this.#scrubber = root.querySelector("input");
    this.#scrubber.addEventListener("input", () => {
      this.pause();
      this.to(Number(this.#scrubber.value));
    });
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
    this.#scrubber.max = this.length;
    this.#scrubber.value = this.#cursor;
    this.#scrubber.setAttribute("aria-valuetext", `timestep ${short(this.#cursor)} of ${this.length}`);
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
    this.#play.textContent = "Pause";
  }

  pause() {
    if (!this.playing) return;
    cancelAnimationFrame(this.#frame);
    this.#stopped();
  }

  #stopped() {
    this.#frame = 0;
    this.#play.textContent = "Play";
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
      this.#stopped();
      return;
    }
    this.#frame = requestAnimationFrame((next) => this.#tick(next));
  }
}

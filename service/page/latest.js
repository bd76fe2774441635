// Many wishes, one at a time: while one is being met only the newest of the others is kept.

export class Latest {
  #work;
  #running = null;
  #waiting = null;

  /** @param work an async function. */
  constructor(work) {
    this.#work = work;
  }

  /** Ends when nothing is left to do. */
  async ask(...wish) {
    this.#waiting = wish;
    this.#running ??= this.#all();
    return this.#running;
  }

  async #all() {
    let result;
    try {
      while (this.#waiting) {
        const wish = this.#waiting;
        this.#waiting = null;
        result = await this.#work(...wish);
      }
    } finally {
      this.#running = null;
    }
    return result;
  }
}

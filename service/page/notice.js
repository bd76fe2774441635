// What went wrong, in words, and what may be tried again.

import { Refusal } from "./service.js";

export class Notice {
  #root;
  #words;
  #button;
  #retry = null;

  constructor(root) {
    this.#root = root;
    this.#words = root.querySelector("p");
    const [again, close] = root.querySelectorAll("button");
    this.#button = again;
    again.addEventListener("click", () => this.retry());
    close.addEventListener("click", () => this.clear());
  }

  say(words, retry = null) {
    this.#words.textContent = words;
    this.#retry = retry;
    this.#button.hidden = !retry;
    this.#root.hidden = false;
  }

  /** An error, and what may be tried again if it passes. */
  report(error, retry) {
    if (error instanceof Refusal) this.say(error.message, error.passing ? retry : null);
    else this.say(`This page failed: ${error.message}`);
  }

  clear() {
    this.#root.hidden = true;
    this.#retry = null;
  }

  retry() {
    const retry = this.#retry;
    if (!retry) return;
    this.clear();
    retry();
  }
}

// A camera's pictures, one at a time: the next when the last is answered, ten a second at most.

import { element } from "./dom.js";

const LEAST_MS = 100;
const PATIENCE_MS = 1000; // after a first refusal; doubled with each

const NONE = { getTracks: () => [] };

export class Camera {
  /** Called when it has stopped, with the reason where nobody asked for it. */
  stopped = () => {};
  #video;
  #stream = null; // NONE until it is permitted
  #wishes = 0;

  constructor(video) {
    this.#video = video;
    document.addEventListener("visibilitychange", () => document.hidden && this.stop());
  }

  get running() {
    return this.#stream !== null;
  }

  /** Hand pictures to `take(file)`, which says how many seconds to wait after a refusal, or 0. */
  async start(take) {
    if (!navigator.mediaDevices) return this.stopped("A camera needs a secure page: https, or localhost.");
    this.#wishes += 1;
    const wish = this.#wishes;
    const asked = navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 640 } } });
    this.#stream = NONE;
    let stream;
    try {
      stream = await asked;
    } catch (error) {
      if (wish === this.#wishes) this.stop(`There is no picture from the camera: ${error.message || error.name}.`);
      return;
    }
    if (wish !== this.#wishes) { // stopped while somebody was asked for permission
      for (const track of stream.getTracks()) track.stop();
      return;
    }
    this.#stream = stream;
    stream.getVideoTracks()[0].addEventListener("ended", () => this.stop("The camera has stopped."));
    this.#video.srcObject = stream;
    await this.#video.play().catch(() => {});
    let refusals = 0;
    while (this.#stream === stream) {
      const began = performance.now();
      const picture = await this.#picture();
      const wait = picture && this.#stream === stream ? await take(picture) : 0;
      refusals = wait ? refusals + 1 : 0;
      const pause = wait ? Math.max(wait * 1000, PATIENCE_MS * 2 ** Math.min(refusals - 1, 5)) : LEAST_MS;
      await new Promise((done) => { setTimeout(done, Math.max(0, began + pause - performance.now())); });
    }
  }

  stop(reason) {
    if (!this.#stream) return;
    this.#wishes += 1;
    for (const track of this.#stream.getTracks()) track.stop();
    this.#stream = null;
    this.#video.srcObject = null;
    this.stopped(reason);
  }

  #picture() {
    const { videoWidth: width, videoHeight: height } = this.#video;
    const side = Math.min(width, height);
    if (!side) return null;
    const canvas = element("canvas", { width: 192, height: 192 });
    canvas.getContext("2d").drawImage(this.#video, (width - side) / 2, (height - side) / 2, side, side, 0, 0, 192, 192);
    return new Promise((done) => { canvas.toBlob(done, "image/jpeg", 0.9); });
  }
}

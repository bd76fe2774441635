// The service, as this page asks it.

const WORDS = {
  0: "The service does not answer: it has stopped, or the network is gone.",
  401: "This service wants an API key.",
  404: "There is no such network here.",
  413: "The image is larger than this service takes.",
  415: "This is no image that the service reads.",
  422: "The service cannot use this.",
  429: "The service is busy.",
  500: "The service failed at this image.",
  503: "The service is not ready.",
  504: "The time for this answer was over.",
};

/** What the service had against a request; `message` is for people. */
export class Refusal extends Error {
  /** Whether it may pass when asked again. */
  get passing() {
    return [0, 408, 429, 500, 503, 504].includes(this.status);
  }

  constructor(status, detail = "", retryAfter = 0) {
    const words = WORDS[status] ?? `The service answered ${status}.`;
    const again = retryAfter ? ` Again in ${retryAfter} s.` : "";
    super(`${words}${detail ? ` It says: ${detail}.` : ""}${again}`);
    Object.assign(this, { status, retryAfter });
  }
}

export class Service {
  /** Kept in memory only. */
  key = "";

  models = () => this.#json("v1/models").then((list) => list.models);
  manifest = ({ name, version }) => this.#json(described(name, version));
  calibration = ({ name, version }) => this.#json(described(name, version, "/calibration"));
  status = (signal) => this.#json("v1/status", { signal });

  /** The answer to an image (a blob). */
  classify(image, parameters, signal) {
    const { path, options } = posted("classify", image, parameters, signal);
    return this.#json(path, options);
  }

  /** Timesteps as they come, through `told`; then the answer. */
  async stream(image, parameters, told, signal) {
    const { path, options } = posted("classify/stream", image, parameters, signal);
    const response = await this.#answer(path, options);
    for await (const [name, content] of events(response.body)) {
      if (name === "result") return content;
      if (name === "error") throw new Refusal(content.status, content.detail);
      if (name === "timestep") told(content);
    }
    throw new Refusal(0);
  }

  async #json(path, options) {
    const response = await this.#answer(path, options);
    return response.json().catch((error) => Promise.reject(lost(error)));
  }

  #answer(path, options = {}) {
    const headers = { ...options.headers };
    if (this.key) headers.Authorization = `Bearer ${this.key}`;
    return fetched(path, { ...options, headers, cache: "no-store" });
  }
}

/** The response to a request that went well; what did not is a Refusal. */
export async function fetched(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    throw lost(error);
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  throw new Refusal(response.status, problem.detail, retryAfter);
}

/** Parameters that are given. */
export function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined);
  return new URLSearchParams(given).toString();
}

function described(name, version, more = "") {
  return `v1/models/${encodeURIComponent(name)}${more}?${query({ version })}`;
}

function posted(path, image, parameters, signal) {
  const headers = { "Content-Type": image.type.startsWith("image/") ? image.type : "image/*" };
  return {
    path: `${path}?${query(parameters)}`,
    options: { method: "POST", body: image, headers, signal },
  };
}

/** Names and contents of server-sent events. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (waiting + value).split("\n\n");
      waiting = blocks.pop();
      for (const block of blocks) {
        const [name, data] = block.split("\n");
        yield [name.slice("event: ".length), JSON.parse(data.slice("data: ".length))];
      }
    }
  } catch (error) {
    throw lost(error);
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** A connection that failed; what was given up stays what it is. */
const lost = (error) => (error.name === "AbortError" || error instanceof Refusal ? error : new Refusal(0));

// The same question, to be asked elsewhere; keys are named, never told.

import { query } from "./service.js";

const KINDS = {
  curl: ({ url, picture, file, type, parameters, key }) => [
    ...(picture ? [`curl -s '${url}${picture}' |`] : []),
    `curl --data-binary @${picture ? "-" : shell(file)} -H 'Content-Type: ${type}'`,
    ...(key ? [`-H "Authorization: Bearer $SPIKESERVE_API_KEY"`] : []),
    `'${url}classify?${query(parameters)}'`,
  ].join(" \\\n  "),
  python: ({ url, picture, file, parameters, key }) => {
    const named = Object.entries(parameters).map(([name, value]) => `, ${name}=${literal(value)}`);
    const first = [...(key ? ["import os"] : []), ...(picture ? [] : ["from pathlib import Path"])];
    return [
      ...first,
      ...(first.length ? [""] : []),
      ...(picture ? ["import httpx"] : []),
      "from spikeserve import SpikeServeClient",
      "",
      `with SpikeServeClient("${url}"${key ? ', api_key=os.environ["SPIKESERVE_API_KEY"]' : ""}) as client:`,
      `    image = ${picture ? `httpx.get("${url}${picture}").content` : `Path(${literal(file)})`}`,
      `    answer = client.classify(image${named.join("")})`,
      "print(answer.prediction.label, answer.timesteps_used)",
    ].join("\n");
  },
  json: ({ answer }) => JSON.stringify(answer, null, 2),
};

const literal = (value) => JSON.stringify(value); // texts and numbers are Python's as well

/** A file's name as one word of a shell's, whatever is in it. */
const shell = (name) => `'${name.replaceAll("'", "'\\''")}'`;

/** Shows what is copied, where it can be selected too. */
export class Snippet {
  #root;
  #said;

  constructor(root, said) {
    this.#root = root;
    this.#said = said;
  }

  async show(kind, question) {
    const text = KINDS[kind](question);
    this.#root.textContent = text;
    this.#root.hidden = false;
    try {
      await navigator.clipboard.writeText(text);
      this.#said.textContent = "Copied.";
    } catch {
      this.#said.textContent = "Select it below: no page may copy here.";
    }
  }

  /** Another question: what stands there asks the one before. */
  clear() {
    this.#root.hidden = true;
    this.#said.textContent = "";
  }
}

// The same question, to be asked elsewhere.

import { query } from "./service.js";

/** What a shell, Python or nobody at all would say; keys are named, never told. */
export const snippets = {
  curl: ({ url, file, type, parameters, key }) => [
    `curl --data-binary @${file} -H 'Content-Type: ${type}'`,
    ...(key ? [`-H "Authorization: Bearer $SPIKESERVE_API_KEY"`] : []),
    `'${url}classify?${query(parameters)}'`,
  ].join(" \\\n  "),
  python: ({ url, file, parameters, key }) => {
    const named = Object.entries(parameters).map(([name, value]) => `, ${name}=${literal(value)}`);
    return [
      ...(key ? ["import os"] : []),
      "from pathlib import Path",
      "",
      "from spikeserve import SpikeServeClient",
      "",
      `with SpikeServeClient("${url}"${key ? ', api_key=os.environ["SPIKESERVE_API_KEY"]' : ""}) as client:`,
      `    answer = client.classify(Path("${file}")${named.join("")})`,
      "print(answer.prediction.label, answer.timesteps_used)",
    ].join("\n");
  },
  json: ({ answer }) => JSON.stringify(answer, null, 2),
};

const literal = (value) => (typeof value === "boolean" ? { true: "True", false: "False" }[value] : JSON.stringify(value));

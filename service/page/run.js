// One image through all timesteps, without early exit: what everything else here looks at.

import { Refusal } from "./service.js";

const CLASSES = 10; // that are asked for
const MOST_DETAILS = 64; // timesteps, of which a longer run has none
const SMALLER = 1024; // pixels a side, of the copy of a file that is too large
const LARGE = 1 << 20; // bytes; a smaller one would not get smaller

/**
 * `{steps, answer, file, entropies}`, with the file that was sent at last. `told` hears of each timestep,
 * `shrunk(refusal, side)` gives a smaller copy of a file that was refused, or nothing.
 */
export async function wholeRun(service, model, file, { told, shrunk, detail = detailOf(model) }) {
  const steps = [];
  const parameters = {
    model: model.name,
    version: model.version,
    entropy_threshold: 0,
    brownout: false,
    top_k: Math.min(CLASSES, model.labels.length),
    detail,
  };
  try {
    const answer = await service.stream(file, parameters, (step) => {
      steps.push(step);
      told(step);
    });
    if (steps.length < model.timesteps) throw new Refusal(0); // cut on the way
    return { steps, answer, file, entropies: steps.map((step) => step.entropy) };
  } catch (error) {
    // A network may be too large for details.
    if (error.status === 422 && detail !== "none") return wholeRun(service, model, file, { told, shrunk, detail: "none" });
    const smaller = error.status === 413 && file.size > LARGE && (await shrunk(error, SMALLER));
    if (!smaller) throw error;
    return wholeRun(service, model, smaller, { told, shrunk, detail });
  }
}

const detailOf = (model) => (model.timesteps <= MOST_DETAILS ? "spikes" : "none");

// What a moment of a run says, in words.

import { own } from "./dom.js";
import { energy, isolated, percent, short, timesteps } from "./numbers.js";

/**
 * Headline and reason, `cursor` timesteps into a run. `truth` is the class of the image, null if it is
 * none, undefined if nobody knows.
 */
export function verdict({ steps, entropies }, { cursor, exit, threshold, truth }) {
  const all = entropies.length;
  if (cursor < exit) {
    const sofar = cursor >= 1 && steps[Math.floor(cursor) - 1].top_k[0];
    const leaning = sofar ? ["Leaning to ", own(sofar.label), `, ${percent(sofar.probability)} …`] : ["Looking …"];
    return { headline: leaning, reason: `Timestep ${Math.floor(cursor) + 1} of at most ${all}.` };
  }
  const { label, probability } = steps[exit - 1].top_k[0];
  return {
    headline: [own(label), `, ${percent(probability)}, after ${exit} of ${timesteps(all)}`],
    reason: [judged(label, truth), why(entropies[exit - 1], threshold), saved(steps, exit)].filter(Boolean).join(" "),
  };
}

const why = (entropy, threshold) =>
  entropy < threshold
    ? `It stopped: the entropy, ${short(entropy)}, had fallen below ${short(threshold)}.`
    : `It ran to the end: the entropy, ${short(entropy)}, never fell below ${short(threshold)}.`;

function judged(label, truth) {
  if (truth === undefined || truth === label) return "";
  return truth === null ? "There is none of its classes to be seen." : `Wrong: it is a ${isolated(truth)}.`;
}

function saved(steps, exit) {
  const [used, full] = [steps[exit - 1].energy_pj, steps.at(-1).energy_pj];
  if (!full || exit === steps.length) return "";
  return `Early exit saved ${energy(full - used)}, ${percent(1 - used / full)} of a full run (estimate).`;
}

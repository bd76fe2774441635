// What a moment of a run says, in words.

import { own } from "./dom.js";
import { energy, percent, short, timesteps } from "./numbers.js";

/** Headline and reason, as what an element can append, `cursor` timesteps into a run. */
export function verdict({ steps, entropies }, { cursor, exit, threshold }) {
  const all = entropies.length;
  if (cursor < exit) {
    const sofar = cursor >= 1 && steps[Math.floor(cursor) - 1].top_k[0];
    const leaning = sofar ? ["Leaning to ", own(sofar.label), `, ${percent(sofar.probability)} …`] : ["Looking …"];
    return { headline: leaning, reason: `Timestep ${Math.floor(cursor) + 1} of at most ${all}.` };
  }
  const { label, probability } = steps[exit - 1].top_k[0];
  return {
    headline: [own(label), `, ${percent(probability)}, after ${exit} of ${timesteps(all)}`],
    reason: `${why(entropies[exit - 1], threshold)} ${saved(steps, exit)}`,
  };
}

const why = (entropy, threshold) =>
  entropy < threshold
    ? `It stopped: the entropy, ${short(entropy)}, had fallen below ${short(threshold)}.`
    : `It never was sure: the entropy, ${short(entropy)}, stayed above ${short(threshold)} to the end.`;

function saved(steps, exit) {
  const [used, full] = [steps[exit - 1].energy_pj, steps.at(-1).energy_pj];
  if (!full || exit === steps.length) return "";
  return `Early exit saved ${energy(full - used)}, ${percent(1 - used / full)} of a full run (estimate).`;
}

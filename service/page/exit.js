// The exit rule, repeated: the service says the entropies, this says where a threshold stops.

/**
 * The timestep (from 1) after which an image leaves: the first whose entropy is below the
 * threshold, at the last one anyway.
 */
export function exitAt(entropies, threshold) {
  const first = entropies.findIndex((entropy) => entropy < threshold);
  return first < 0 ? entropies.length : first + 1;
}

// Entropies of sure networks are small and thresholds are chosen among small ones: on this scale
// 0.001 lies a tenth of the way up.
export const risen = (entropy) => Math.cbrt(entropy);
export const fallen = (height) => height ** 3;

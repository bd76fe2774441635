// Numbers as people read them.

const UNITS = [[1e12, "J"], [1e9, "mJ"], [1e6, "µJ"], [1e3, "nJ"], [1, "pJ"]];

/** Three digits, no exponent: 0.00374, 21.7, 1,460. */
export function short(value) {
  if (!Number.isFinite(value)) return "–";
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(3)));
}

/** Two digits: what differs from run to run. */
export const rough = (value) => short(Number(value.toPrecision(2)));

/** The first of many names, and how many more there are. */
export function listed(names, most = 10) {
  const more = names.length - most;
  return `${names.slice(0, most).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

/** Somebody's own words inside a sentence, in whichever direction they are written. */
export const isolated = (text) => `\u2068${text}\u2069`;

/** Picojoules in a unit that fits. */
export function energy(pj) {
  const [size, unit] = UNITS.find(([least]) => Math.abs(pj) >= least) ?? UNITS.at(-1);
  return `${short(pj / size)}\u00a0${unit}`;
}

/** A share of one. */
export const percent = (share, digits = 0) => `${(share * 100).toFixed(digits)}\u00a0%`;

/** Seconds in a unit that fits. */
export function duration(seconds) {
  if (!(seconds < 1)) return `${short(seconds)}\u00a0s`;
  return seconds < 1e-3 ? `${short(seconds * 1e6)}\u00a0µs` : `${short(seconds * 1e3)}\u00a0ms`;
}

/** "1 timestep", "4 timesteps". */
export const timesteps = (count) => `${count} ${count === 1 ? "timestep" : "timesteps"}`;

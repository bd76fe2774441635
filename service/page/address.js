// The part of the address behind #: network, threshold and example, to be sent to somebody.

/** What the address asks for; what it does not say is undefined. */
export function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  const threshold = given.has("threshold") ? Number(given.get("threshold")) : NaN;
  return {
    model: given.get("model") ?? undefined,
    threshold: threshold >= 0 && threshold <= 1 ? threshold : undefined,
    example: given.get("example") ?? undefined,
  };
}

export function write(values) {
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  const hash = `#${new URLSearchParams(given)}`;
  if (hash !== location.hash) history.replaceState(null, "", hash);
}

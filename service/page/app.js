// The page: an image, a run of the network over all timesteps, and a threshold that says where it
// would have stopped. One request, without early exit, tells everything; the exit rule is repeated
// here, so that the line can be dragged, and the service is asked again when it is let go.

import * as address from "./address.js";
import { Camera } from "./camera.js";
import { Columns } from "./columns.js";
import { Curve, about } from "./curve.js";
import { byId, element } from "./dom.js";
import { Easel } from "./easel.js";
import { Race, parts } from "./energy.js";
import { EntropyPlot } from "./entropy.js";
import { Examples } from "./examples.js";
import { exitAt } from "./exit.js";
import { Glance } from "./glance.js";
import { Latest } from "./latest.js";
import { duration, short, timesteps } from "./numbers.js";
import { Player } from "./player.js";
import { wholeRun } from "./run.js";
import { Refusal, Service } from "./service.js";
import { snippets } from "./snippets.js";
import { Trail } from "./trail.js";
import { verdict } from "./verdict.js";

const service = new Service();
const easel = new Easel(byId("picture"), byId("distortions"));
const camera = new Camera(byId("camera"));
const examples = new Examples(byId("examples"));
const columns = new Columns(byId("columns"));
const plot = new EntropyPlot(byId("entropy"));
const curve = new Curve(byId("curve"));
const race = new Race(byId("race"));
const trail = new Trail(byId("slowdown"));
const stillness = matchMedia("(prefers-reduced-motion: reduce)");
const player = new Player({ still: () => stillness.matches });
const wanted = address.read();

let models = [];
let model = null;
let calibrated = 0;
let threshold = 0;
let held = ""; // images of the calibration
let source = null; // {file, name, example}
let run = null; // {steps, answer, entropies, file}: all timesteps of an image
let agreed = null; // the service's answer with this threshold

// What is asked

const asking = new Latest(async ({ animate = false, live = false } = {}) => {
  if (!model || !source) return null;
  const [now, asked] = [source, model];
  const changed = () => source !== now || model !== asked; // then the next wish waits already
  try {
    const whole = await wholeRun(service, asked, await easel.file(), { told, shrunk });
    if (changed()) return null;
    run = whole;
  } catch (error) {
    if (changed()) return null;
    report(error);
    return error;
  }
  lay();
  if (animate && !stillness.matches) player.to(0);
  else player.to(player.length);
  if (animate && !stillness.matches) player.play();
  if (live) return null;
  const { exit, label } = outcome();
  trail.begin(exit, label);
  if (source.example) examples.note(source.example, exit);
  await agreeing.ask();
  return null;
});

/** When the image leaves, and as what. */
function outcome() {
  const exit = exitAt(run.entropies, threshold);
  return { exit, label: run.steps[exit - 1].top_k[0].label };
}

/** A long run is no frozen page. */
function told({ t }) {
  if (t > 4) said(byId("reason"), `Timestep ${t} of ${model.timesteps} …`);
}

async function shrunk(refusal, side) {
  const copy = await easel.smaller(side);
  if (copy) say(`${refusal.message} A copy of at most ${side} pixels a side is sent instead.`);
  return copy;
}

/** Ask the service with the threshold itself, and compare. */
const agreeing = new Latest(async () => {
  if (!run) return;
  const now = run;
  const asked = threshold;
  byId("agreement").textContent = "asking the service …";
  try {
    agreed = await service.classify(now.file, { ...chosenModel(), entropy_threshold: asked, brownout: false, energy: "full" });
  } catch (error) {
    byId("agreement").textContent = "";
    report(error);
    return;
  }
  if (now !== run || asked !== threshold) return;
  const exit = exitAt(now.entropies, asked);
  const same = agreed.timesteps_used === exit && agreed.entropy === now.entropies[exit - 1];
  byId("agreement").textContent = same
    ? `The service, asked with ${short(asked)}: ${timesteps(exit)}, the same as here.`
    : `The service, asked with ${short(asked)}: ${timesteps(agreed.timesteps_used)}, not the ${exit} shown here.`;
  byId("agreement").dataset.same = same;
  layParts();
});

/** What a request says that wants a point's accuracy instead of its threshold; it may be cheaper. */
const targeting = new Latest(async (point) => {
  if (!run) return;
  try {
    const wanted = { ...chosenModel(), target_accuracy: point.accuracy, brownout: false, energy: "off" };
    const { entropy_threshold: taken, expected } = await service.classify(run.file, wanted);
    byId("target").textContent = `target_accuracy=${point.accuracy} takes the cheapest threshold that reaches it: ${short(taken)}, ${about(expected)}.`;
  } catch (error) {
    report(error);
  }
});

const chosenModel = () => ({ model: model.name, version: model.version });

// What is shown

function lay() {
  const { steps, answer, entropies } = run;
  columns.lay(steps);
  race.lay(steps, answer);
  const seen = byId("columns").querySelector(".shown");
  if (seen) easel.stand(seen);
  player.length = entropies.length;
  byId("scrubber").max = entropies.length;
  const inference = answer.timing_ms.inference / 1000 / entropies.length;
  byId("slower").textContent =
    `${short(player.slower(inference))} times slower than it was: ${duration(inference)} a timestep`;
  agreed = null;
  byId("agreement").textContent = "";
  const detail = answer.energy ? `For a chip by the profile ${answer.energy.profile}, not for this machine. Lines: 5th to 95th percentile of what is uncertain.` : "";
  byId("chip").textContent = detail;
  byId("parts-show").hidden = !answer.energy;
}

function show() {
  if (!run) return;
  const { steps, entropies } = run;
  const exit = exitAt(entropies, threshold);
  const cursor = player.cursor;
  player.exit = exit;
  columns.show(cursor, exit, steps);
  plot.show({ entropies, threshold, cursor, exit });
  race.show(cursor, exit, steps);
  curve.show(threshold);
  byId("scrubber").value = cursor;
  byId("scrubber").setAttribute("aria-valuetext", `timestep ${short(cursor)} of ${entropies.length}`);
  if (document.activeElement !== byId("threshold")) byId("threshold").value = threshold;
  byId("calibrated").disabled = threshold === calibrated;
  const expected = curve.expected(threshold);
  byId("expected").textContent = expected ? `This threshold on ${held} held-out images: ${about(expected)}.` : "";
  const { headline, reason } = verdict(run, { cursor, exit, threshold });
  said(byId("verdict"), ...headline);
  said(byId("reason"), reason);
  remember();
}

/** Say it only if it is new, so that it is read out once. */
function said(root, ...words) {
  const line = element("span", {}, ...words);
  if (root.textContent !== line.textContent) root.replaceChildren(...line.childNodes);
}

function layParts() {
  const detail = agreed?.energy?.detail;
  if (!detail) return;
  byId("parts").tBodies[0].replaceChildren(...parts(detail, agreed.energy.total_pj));
}

function say(words, { again = false } = {}) {
  byId("problem").querySelector("p").textContent = words;
  byId("problem").hidden = false;
  byId("again").hidden = !again;
}

function report(error) {
  const known = error instanceof Refusal;
  say(known ? error.message : `This page failed: ${error.message}`, { again: known && error.passing });
  if (error.status === 401) askForKey();
  if (!run) said(byId("verdict"), "No answer yet");
}

function askForKey() {
  byId("key-field").hidden = byId("key-use").hidden = false;
  byId("key").focus();
}

function remember() {
  address.write({
    model: model === models[0] ? undefined : `${model.name}:${model.version}`,
    threshold: threshold === calibrated ? undefined : threshold,
    example: source.example?.name,
  });
}

// What is done

function use(value) {
  threshold = value;
  show();
}

async function take(file, { name = file.name || "image", example = null, live = false } = {}) {
  const before = source;
  const mine = { file, name, example };
  source = mine;
  await easel.load(file);
  byId("problem").hidden = true;
  const error = await asking.ask({ animate: !live && run !== null, live });
  if (error && before && !error.passing && source === mine) { // no image that can be asked about
    source = before;
    await easel.load(before.file);
  }
  examples.mark(source.example);
  return error;
}

async function takeExample(example) {
  camera.stop();
  try {
    await take(await examples.file(example), { name: example.file, example });
  } catch (error) {
    report(error);
  }
}

async function choose(next) {
  const [manifest, calibration] = await Promise.all([service.manifest(next), service.calibration(next)]);
  model = next;
  byId("model").value = models.indexOf(model);
  examples.expect(model.name);
  const { temperatures, sharpness } = manifest.exits;
  byId("temperature").textContent = `Here, timestep by timestep: ${temperatures.slice(0, 8).map(short).join(", ")}${temperatures.length > 8 ? ", …" : ""}.`;
  byId("sharpness").textContent = `Here: ${short(sharpness)}.`;
  calibrated = calibration.default_entropy_threshold;
  threshold = calibrated;
  curve.lay(calibration.curve);
  held = short(calibration.images);
}

async function connect() {
  try {
    models = await service.models();
    byId("model").replaceChildren(...models.map(({ name, version }, k) =>
      element("option", { value: k, textContent: models.some((other) => other.name === name && other.version !== version) ? `${name} (${version})` : name })));
    byId("model").disabled = false;
    await choose(models.find(({ name, version }) => [name, `${name}:${version}`].includes(wanted.model)) ?? models[0]);
    if (wanted.threshold !== undefined) threshold = wanted.threshold;
    byId("problem").hidden = true;
    await takeExample(examples.named(wanted.example));
  } catch (error) {
    report(error);
  }
}

function listen() {
  player.moved = (cursor) => {
    show();
    if (player.playing) columns.reveal(Math.ceil(cursor));
  };
  player.turned = (playing) => { byId("play").textContent = playing ? "Pause" : "Play"; };
  plot.moved = use;
  plot.released = () => agreeing.ask();
  curve.chosen = (point) => {
    use(point.entropy_threshold);
    targeting.ask(point);
    agreeing.ask();
  };
  examples.chosen = takeExample;
  easel.changed = async () => {
    await asking.ask({ live: true });
    if (!run) return;
    const { exit, label } = outcome();
    trail.add(exit, run.entropies.length, label);
  };
  camera.stopped = (reason) => {
    byId("film").setAttribute("aria-pressed", "false");
    if (reason) say(reason);
  };

  byId("model").addEventListener("change", async () => {
    try {
      await choose(models[byId("model").value]);
      await asking.ask();
    } catch (error) {
      byId("model").value = models.indexOf(model);
      report(error);
    }
  });
  byId("connection").addEventListener("submit", (event) => {
    event.preventDefault();
    service.key = byId("key").value.trim();
    connect();
  });
  byId("close").addEventListener("click", () => { byId("problem").hidden = true; });
  byId("again").addEventListener("click", () => {
    byId("problem").hidden = true;
    return run ? asking.ask() : connect();
  });
  byId("play").addEventListener("click", () => (player.playing ? player.pause() : player.play()));
  byId("back").addEventListener("click", () => player.step(-1));
  byId("forth").addEventListener("click", () => player.step(1));
  byId("scrubber").addEventListener("input", () => {
    player.pause();
    player.to(Number(byId("scrubber").value));
  });
  byId("threshold").addEventListener("change", () => {
    const value = byId("threshold").valueAsNumber;
    if (value >= 0 && value <= 1) use(value);
    byId("threshold").value = threshold;
    agreeing.ask();
  });
  byId("calibrated").addEventListener("click", () => {
    use(calibrated);
    agreeing.ask();
  });
  byId("parts-show").addEventListener("click", () => {
    const hidden = byId("parts").toggleAttribute("hidden");
    byId("parts-show").setAttribute("aria-expanded", !hidden);
  });
  byId("eraser").addEventListener("click", () => {
    const on = byId("eraser").getAttribute("aria-pressed") !== "true";
    byId("eraser").setAttribute("aria-pressed", on);
    byId("eraser-hint").hidden = !on;
    easel.rub(on);
  });
  byId("mend").addEventListener("click", () => {
    easel.mend();
    asking.ask();
  });
  byId("film").addEventListener("click", () => {
    if (camera.running) return camera.stop();
    byId("film").setAttribute("aria-pressed", "true");
    return camera.start(async (picture) => {
      const error = await take(picture, { name: "camera.jpg", live: true });
      return error ? error.retryAfter || 1 : 0;
    });
  });
  for (const button of document.querySelectorAll("[data-snippet]")) {
    button.addEventListener("click", () => copy(button.dataset.snippet));
  }
  const own = (files) => {
    const file = [...files].find((one) => one);
    if (!file) return;
    camera.stop();
    take(file);
  };
  byId("file").addEventListener("change", () => own(byId("file").files));
  document.addEventListener("paste", (event) => own(event.clipboardData.files));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    own(event.dataTransfer.files);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    if (!run) return;
    columns.lay(run.steps);
    show();
  });
}

async function copy(kind) {
  if (kind === "json" && !agreed) await agreeing.ask(); // as after a slider was moved
  if (!source || !model || (kind === "json" && !agreed)) return;
  const parameters = { ...(model === models[0] ? {} : chosenModel()), entropy_threshold: threshold };
  const text = snippets[kind]({
    url: document.baseURI,
    file: easel.unchanged ? source.name : "picture.png", // as browsers save the picture
    type: easel.unchanged ? source.file.type || "image/*" : "image/png",
    parameters, key: service.key !== "", answer: agreed,
  });
  byId("snippet").textContent = text;
  byId("snippet").hidden = false;
  try {
    await navigator.clipboard.writeText(text);
    byId("copied").textContent = "Copied.";
  } catch {
    byId("copied").textContent = "Select it below: this browser lets no page copy here.";
  }
}

listen();
const glance = new Glance(service, { root: byId("glance"), exits: byId("exits"), title: byId("service-state") });
glance.returned = () => model || connect();
glance.watch();
await examples.load();
await connect();
document.documentElement.dataset.ready = "true";

// An image, its run over all timesteps, and a threshold that says where it would have stopped. The exit
// rule is repeated here, so that the line can be dragged; let go, it is put to the service.

import * as address from "./address.js";
import { Camera } from "./camera.js";
import { Columns } from "./columns.js";
import { Curve, about, chance } from "./curve.js";
import { byId, element } from "./dom.js";
import { Easel } from "./easel.js";
import { Parts, Race } from "./energy.js";
import { EntropyPlot } from "./entropy.js";
import { Examples } from "./examples.js";
import { exitAt } from "./exit.js";
import { Glance } from "./glance.js";
import { intake } from "./intake.js";
import { Latest } from "./latest.js";
import { Networks } from "./networks.js";
import { Notice } from "./notice.js";
import { duration, isolated, listed, rough, short, timesteps } from "./numbers.js";
import { Player } from "./player.js";
import { wholeRun } from "./run.js";
import { Service } from "./service.js";
import { Snippet } from "./snippet.js";
import { Trail } from "./trail.js";
import { verdict } from "./verdict.js";

const service = new Service();
const easel = new Easel(byId("picture"), byId("breaking"));
const camera = new Camera(byId("camera"));
const examples = new Examples(byId("examples"));
const columns = new Columns(byId("columns"));
const plot = new EntropyPlot(byId("entropy"));
const curve = new Curve(byId("curve"));
const race = new Race(byId("race"));
const parts = new Parts(byId("parts-show"), byId("parts"));
const networks = new Networks(service, byId("model"));
const trail = new Trail(byId("slowdown"));
const notice = new Notice(byId("problem"));
const snippet = new Snippet(byId("snippet"), byId("copied"));
const stillness = matchMedia("(prefers-reduced-motion: reduce)");
const player = new Player(byId("player"), () => stillness.matches);
const wanted = address.read();
const INVITATION = byId("target").textContent;
const UNCALIBRATED = "Not calibrated: what a threshold costs in accuracy is not known.";
const SPIKING = {
  hybrid: "Pixels speak that way too, from the second timestep on: each colour once, the brighter the earlier.",
  direct: "The image itself is shown at every timestep.",
};

let model = null;
let calibrated = 0;
let threshold = 0;
let held = 0; // images of the calibration
let choices = 0; // of images: one that arrives late is not wanted any more
let source = null; // {file, name, example}
let run = null; // {steps, answer, entropies, file}: all timesteps of an image
let agreed = null; // the service's answer with this threshold

// What is asked

const asking = new Latest(async ({ animate = false, live = false } = {}) => {
  if (!model || !source) return null;
  const [now, asked] = [source, model];
  const changed = () => source !== now || model !== asked; // then the next wish waits already
  try {
    const whole = await wholeRun(service, asked, await easel.file(), {
      told: (step) => changed() || told(step),
      shrunk: (refusal, side) => !changed() && shrunk(refusal, side),
    });
    if (changed()) return null;
    run = { ...whole, source: now, model: asked };
  } catch (error) {
    if (changed()) return null;
    if (error.passing && run?.source !== now) forget();
    report(error, () => asking.ask());
    return error;
  }
  lay();
  const plays = animate && !stillness.matches;
  player.to(plays ? 0 : player.length);
  if (plays) player.play();
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
  if (copy) notice.say(`${refusal.message} A copy of at most ${side} pixels a side is sent instead.`);
  return copy;
}

/** Ask the service with the threshold itself, and compare. */
const agreeing = new Latest(async () => {
  if (!run) return;
  const now = run;
  const asked = threshold;
  const changed = () => now !== run || asked !== threshold;
  agreed = null;
  agree("asking the service …");
  let answer;
  try {
    answer = await service.classify(now.file, { ...named(now.model), entropy_threshold: asked, brownout: false, energy: "full" });
  } catch (error) {
    if (changed()) return;
    agree("");
    report(error, () => agreeing.ask());
    return;
  }
  if (changed()) return;
  agreed = answer;
  const exit = exitAt(now.entropies, asked);
  const same = agreed.timesteps_used === exit && agreed.entropy === now.entropies[exit - 1];
  const said = `The service, asked with ${short(asked)}: ${timesteps(agreed.timesteps_used)}`;
  agree(same ? `${said}, the same as here.` : `${said}, not the ${exit} shown here.`, same);
  parts.lay(agreed.energy);
});

function agree(words, same = "") {
  byId("agreement").textContent = words;
  byId("agreement").dataset.same = same;
}

/** Asking for a point's accuracy may bring a cheaper threshold. */
const targeting = new Latest(async (point) => {
  if (!run) return;
  const now = run;
  try {
    const wanted = { ...named(now.model), target_accuracy: point.accuracy, brownout: false, energy: "off" };
    const { entropy_threshold: taken, expected } = await service.classify(now.file, wanted);
    if (now !== run || threshold !== point.entropy_threshold) return;
    const same = taken === point.entropy_threshold;
    byId("target").textContent = same
      ? `A request gets the same by target_accuracy=${point.accuracy}.`
      : `By target_accuracy=${point.accuracy} a request gets a cheaper threshold that is as accurate: ${short(taken)}, ${about(expected)}.`;
  } catch (error) {
    report(error, () => targeting.ask(point));
  }
});

const named = ({ name, version }) => ({ model: name, version });

// What is shown

function lay() {
  const { steps, answer, entropies } = run;
  columns.lay(steps);
  race.lay(steps, answer);
  const seen = byId("columns").querySelector(".shown");
  if (seen) easel.stand(seen);
  player.length = entropies.length;
  const inference = answer.timing_ms.inference / 1000 / entropies.length;
  byId("slower").textContent =
    `${rough(player.slower(inference))} times slower than it was: ${duration(inference)} a timestep`;
  agreed = null;
  agree(easel.unchanged ? "" : "Not asked again while the image is changed.");
  snippet.clear();
  columns.reach();
  byId("chip").textContent = answer.energy ? `For a chip (${answer.energy.profile}), not for this machine; lines: 5th to 95th percentile.` : "";
}

/** Another image, or another network, that has no run yet. */
function forget() {
  run = agreed = null;
  player.pause();
  columns.lay([]);
  race.lay([], {});
  plot.show({ entropies: [], threshold, cursor: 0, exit: 0 });
  said(byId("verdict"), "No answer yet");
  said(byId("reason"), "");
  agree("");
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
  if (document.activeElement !== byId("threshold")) byId("threshold").value = threshold;
  byId("calibrated").disabled = threshold === calibrated;
  const expected = curve.expected(threshold);
  byId("expected").textContent = expected ? `This threshold on ${short(held)} held-out images: ${about(expected)}. ${chance(expected, held)}` : UNCALIBRATED;
  const truth = easel.unchanged ? examples.truth(source.example, model) : undefined;
  const { headline, reason } = verdict(run, { cursor, exit, threshold, truth });
  said(byId("verdict"), ...headline);
  said(byId("reason"), reason);
  remember();
}

/** Say it only if it is new, so that it is read out once. */
function said(root, ...words) {
  const line = element("span", {}, ...words);
  if (root.textContent !== line.textContent) root.replaceChildren(...line.childNodes);
}

function report(error, retry = connect) {
  notice.report(error, retry);
  if (error.status === 401) askForKey();
  if (!run) forget();
}

function askForKey() {
  byId("key-field").hidden = byId("key-use").hidden = false;
  byId("key").focus();
}

function remember() {
  address.write({
    model: networks.address(model),
    threshold: threshold === calibrated ? undefined : threshold,
    example: source.example?.name,
  });
}

// What is done

function use(value) {
  threshold = value;
  snippet.clear();
  byId("target").textContent = INVITATION;
  show();
}

async function take(file, { name = file.name || "image", example = null, live = false } = {}) {
  choices += 1;
  const before = source;
  const mine = { file, name, example };
  source = mine;
  await easel.load(file);
  notice.clear();
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
  choices += 1;
  const choice = choices;
  try {
    const file = await examples.file(example);
    if (choice === choices) await take(file, { name: example.file, example });
  } catch (error) {
    report(error, () => takeExample(example));
  }
}

async function connect() {
  try {
    await networks.load(wanted.model);
    notice.clear();
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
    if (!run || run.file === source.file) return;
    const { exit, label } = outcome();
    trail.add(exit, run.entropies.length, label);
  };
  camera.stopped = (reason) => {
    byId("film").setAttribute("aria-pressed", "false");
    if (reason) notice.say(reason);
  };

  networks.failed = report;
  networks.chosen = (network, { exits }, calibration) => {
    notice.clear();
    if (model && model !== network) forget();
    const { temperatures, sharpness } = exits;
    byId("temperature").textContent = `Here, timestep by timestep: ${listed(temperatures.map(short), 8)}.`;
    byId("sharpness").textContent = `Here: ${short(sharpness)}.`;
    byId("classes").textContent = `It knows ${listed(network.labels.map(isolated))}.`;
    byId("spiking").textContent = SPIKING[network.encoding] ?? "";
    examples.expect(network.name);
    curve.lay(calibration.curve);
    held = calibration.images;
    byId("target").hidden = !held;
    calibrated = calibration.default_entropy_threshold;
    threshold = (model ? undefined : wanted.threshold) ?? calibrated;
    model = network;
    return asking.ask();
  };
  byId("connection").addEventListener("submit", (event) => {
    event.preventDefault();
    service.key = byId("key").value.trim();
    connect();
  });
  byId("threshold").addEventListener("change", () => {
    const value = byId("threshold").valueAsNumber;
    const fits = value >= 0 && value <= 1;
    if (fits) use(value);
    byId("threshold").value = threshold;
    if (fits) agreeing.ask();
    else agree("A threshold is a number from 0 to 1.");
  });
  byId("calibrated").addEventListener("click", () => {
    use(calibrated);
    agreeing.ask();
  });
  easel.mended = () => asking.ask();
  byId("save").addEventListener("click", save);
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
  intake(byId("file"), (file) => {
    camera.stop();
    take(file);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    if (!run) return;
    columns.lay(run.steps);
    show();
  });
}

async function copy(kind) {
  if (kind === "json" && !agreed) await agreeing.ask(); // as after a slider was moved
  if (!run || (kind === "json" && !agreed)) return;
  const changed = run.file !== source.file;
  const parameters = { ...networks.asked(run.model), entropy_threshold: threshold };
  snippet.show(kind, {
    url: document.baseURI,
    picture: changed ? null : source.example && examples.url(source.example),
    file: changed ? sentName() : source.name,
    type: run.file.type || "image/*",
    parameters,
    key: service.key !== "",
    answer: agreed,
  });
}

/** What was sent, as a file to be kept: it may have been changed here. */
function save() {
  if (!run) return;
  const link = element("a", { href: URL.createObjectURL(run.file), download: sentName() });
  link.click();
  setTimeout(URL.revokeObjectURL, 10_000, link.href);
}

const sentName = () => (run.file === source.file ? source.name : `picture.${run.file.type.split("/")[1]}`);

listen();
const glance = new Glance(service, { root: byId("glance"), exits: byId("exits"), title: byId("service-state") });
glance.returned = () => notice.retry();
glance.watch();
await examples.load();
await connect();
document.documentElement.dataset.ready = "true";

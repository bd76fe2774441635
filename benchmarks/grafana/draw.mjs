// node draw.mjs SETTINGS.json PROMETHEUS PICTURE.png: prints the titles of panels without data.
// Chromium sees one origin that does not exist; what it asks of it comes from here.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { chromium } from "playwright-core";

const [settingsFile, prometheus, picture] = process.argv.slice(2);
const HERE = import.meta.dirname;
const ORIGIN = "http://board";
const PAGE =
  '<!doctype html><link rel="stylesheet" href="/board.css"><div id="board"></div>' +
  '<script src="/board.js"></script>';
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = [
  "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

async function answer(route) {
  const { pathname, search } = new URL(route.request().url());
  if (pathname === "/") return route.fulfill({ contentType: "text/html", body: PAGE });
  if (pathname.startsWith("/api/")) {
    const response = await fetch(prometheus + pathname + search);
    return route.fulfill({ contentType: "application/json", body: await response.text() });
  }
  return route.fulfill({ path: file(pathname) });
}

function file(pathname) {
  const font = /^\/public\/fonts\/inter\/Inter-(Regular|Medium)\.woff2$/.exec(pathname);
  if (font) {
    const weight = font[1] === "Regular" ? 400 : 500;
    const name = `inter-latin-${weight}-normal.woff2`;
    return path.join(HERE, "node_modules/@fontsource/inter/files", name);
  }
  const icon = /^\/public\/build\/(img\/icons\/.*)$/.exec(pathname);
  if (icon) return path.join(HERE, "node_modules/@grafana/ui/dist/public", icon[1]);
  return path.join(HERE, "build", pathname);
}

const settings = JSON.parse(await readFile(settingsFile, "utf8"));
const profile = await mkdtemp(path.join(tmpdir(), "board-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: CHROMIUM,
  args: FLAGS,
  viewport: { width: settings.width, height: 1000 },
});
try {
  const page = await browser.newPage();
  const complaints = new Set();
  page.on("pageerror", (error) => complaints.add(String(error)));
  page.on("console", (message) => message.type() === "error" && complaints.add(message.text()));
  await page.route("**/*", answer);
  await page.goto(ORIGIN);
  const empty = await page.evaluate((known) => window.draw(known), settings);
  await page.waitForLoadState("networkidle");
  await page.waitForTimeout(2000); // plots are drawn in animation frames
  await page.locator("#board").screenshot({ path: picture });
  if (complaints.size > 0) throw new Error([...complaints].join("\n"));
  console.log(JSON.stringify(empty));
} finally {
  await browser.close();
  await rm(profile, { recursive: true, force: true });
}

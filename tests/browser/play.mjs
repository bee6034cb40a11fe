// Plays URLs in headless Chromium with the players that people use, and says what page script could see.
//
// One JSON object on stdin:
//   cases         list of:
//     player        hlsjs | dashjs | shaka-hls | shaka-dash | videojs-hls | videojs-dash | native | demo-page | demo-page-mse
//     url           what to play; for demo-page, the address of the page
//     expect        "plays", or {"status": 403, "code": "token_expired"}: refused, and page script could read both
//     seconds       media seconds that must pass (10; for a refusal 0: a later one is a refusal in mid-play)
//     name          in the report (the player's)
//     rate          playback rate (4)
//     live          its time counts from where it begins to play (false)
//     switches      goes to and fro between two renditions; segments of both must come (false; native cannot)
//     user_agent    what the browser says that it is
//     meanwhile     cases that run, one by one, while this one plays on; then it must play on for two seconds, or, with
//     afterwards    {"status": 403, "code": "session_evicted"}, have been refused
//     credentials   sends cookies across origins (false)
//     probe         for a refused native: what page script asks for itself, as that player tells it nothing (url)
//     screenshot    for demo-page: a PNG to write
//     scheme        for demo-page: light (default) or dark
//     options       the player's own configuration
//     timeout       seconds (30)
//   page_host     127.0.0.1 (default: same site, other port) or localhost (another site than media at 127.0.0.1)
//   at_once       cases that run at the same time (1)
//   page_port     port of the test page (0: any); set it where the page's origin must be known beforehand
// One JSON object on stdout: {ok, browser, page, results: [{name, player, ok, why, currentTime, errors, refusals, codes}]}
// Exit code 0: all as expected; 1: not; 2: could not run.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
  "--disable-sync", "--disable-dev-shm-usage", "--no-proxy-server", "--autoplay-policy=no-user-gesture-required", "--mute-audio",
];
const FILES = {
  "/": ["player.html", "text/html; charset=utf-8"],
  "/lib/hls.js": ["node_modules/hls.js/dist/hls.min.js", "text/javascript"],
  "/lib/dash.js": ["node_modules/dashjs/dist/modern/umd/dash.all.min.js", "text/javascript"],
  "/lib/shaka.js": ["node_modules/shaka-player/dist/shaka-player.compiled.js", "text/javascript"],
  "/lib/video.js": ["node_modules/video.js/dist/video.min.js", "text/javascript"],
};

function servePage(host, port) {
  const server = createServer(async (request, response) => {
    const [file, type] = FILES[request.url] ?? [];
    if (!file) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": type }).end(await readFile(new URL(file, import.meta.url)));
  });
  return new Promise((done, fail) => {
    server.once("error", fail);
    server.listen(port, "127.0.0.1", () => done([server, `http://${host}:${server.address().port}`]));
  });
}

// Asks again until the answer is something, or the time is over.
async function until(deadline, question) {
  for (;;) {
    const answer = await question();
    if (answer || Date.now() > deadline) return answer;
    await sleep(150);
  }
}

function judge(expect, seconds, look, refusals) {
  if (expect === "plays") {
    if (look.time < seconds) return `only ${look.time.toFixed(1)} s of ${seconds} s passed`;
    return refusals.length ? `played, but ${refusals.length} requests were refused` : null;
  }
  if (look.time < seconds) return `refused after ${look.time.toFixed(1)} s instead of ${seconds} s`;
  if (seconds === 0 && look.time > 0) return `played ${look.time.toFixed(1)} s`;
  if (!look.seen.some((one) => one.status === expect.status && (!expect.code || one.code === expect.code))) {
    return `page script did not see ${expect.status} ${expect.code ?? ""}`.trim();
  }
  return null;
}

async function playInPlayer(page, order, base) {
  const { expect, seconds, deadline } = order;
  await page.goto(base);
  await page.evaluate((order) => { window.start(order); }, { ...order, renditions: null });
  const ended = await until(deadline, async () => {
    const look = await page.evaluate((turn) => { if (turn) window.turn(); return window.look(); }, Boolean(order.switches));
    if (expect === "plays") return (look.time >= seconds && (!order.switches || order.renditions.size > 1)) || look.problems.some((problem) => problem.fatal) ? look : null;
    if (order.player === "native") return look.problems.some((problem) => problem.fatal) ? look : null;
    return look.seen.some((one) => one.status === expect.status) && look.time >= seconds ? look : null;
  });
  if (expect !== "plays" && order.player === "native" && ended) {
    await page.evaluate(([url, credentials]) => window.probe(url, credentials).catch(() => {}), [order.probe ?? order.url, order.credentials]);
  }
  return page.evaluate(() => window.look());
}

// The demo page is judged by what a visitor sees: the film runs, the bad links are refused, the numbers move.
async function visitDemo(page, order) {
  const trouble = [];
  page.on("pageerror", (error) => trouble.push(`script: ${error.message}`));
  page.on("console", (message) => { if (/Content Security Policy/i.test(message.text())) trouble.push(message.text()); });
  await page.goto(order.url);
  if (order.player === "demo-page-mse") await page.check("#mse");
  await page.click("#play");
  await page.evaluate((rate) => { document.getElementById("video").playbackRate = rate; }, order.rate);
  const time = () => page.evaluate(() => document.getElementById("video").currentTime);
  await until(order.deadline, async () => (await time()) >= order.seconds);
  const reached = await time();
  for (const name of ["expired", "tampered", "bare"]) {
    const before = await page.locator("#log td.bad, #log td.good").count();
    await page.click(`[data-try=${name}]`);
    await until(order.deadline, async () => (await page.locator("#log td.bad, #log td.good").count()) > before);
  }
  await sleep(1200);
  const rows = await page.locator("#log tr").evaluateAll((lines) => lines.map((line) => [...line.cells].map((cell) => cell.textContent)));
  const seen = rows.map(([name, status, code, , id]) => ({ name, status: Number(status), code, request_id: id })).filter((one) => one.status >= 400);
  const panel = await page.evaluate(() => Object.fromEntries(
    ["requests", "refused", "cache_hits", "origin_requests"].map((id) => [id, document.getElementById(id).textContent])));
  if (order.screenshot) await page.screenshot({ path: order.screenshot, fullPage: true });
  return { time: reached, seen, panel, problems: trouble.map((text) => ({ text, fatal: true })) };
}

// What became of a viewer while others came.
async function afterwards(page, order, refusals) {
  const before = await page.evaluate(() => window.look());
  const deadline = Date.now() + 20000;
  const wanted = order.afterwards;
  const seen = (look) => look.seen.some((one) => one.status === wanted.status && one.code === wanted.code);
  const after = await until(deadline, async () => {
    const look = await page.evaluate(() => window.look());
    return (wanted ? seen(look) : look.time >= before.time + 2) ? look : null;
  });
  if (!after) return wanted ? `page script did not see ${wanted.status} ${wanted.code}` : "it does not play on";
  return !wanted && refusals.length ? `played on, but ${refusals.length} requests were refused` : null;
}

async function run(browser, base, given) {
  const expect = given.expect ?? "plays";
  const demo = given.player.startsWith("demo-page");
  const order = { renditions: new Set(), rate: 4, seconds: expect === "plays" ? 10 : 0, ...given, expect, deadline: Date.now() + 1000 * (given.timeout ?? 30) };
  const context = await browser.newContext({ userAgent: given.user_agent, ignoreHTTPSErrors: true, viewport: { width: 1200, height: 900 }, colorScheme: given.scheme ?? "light" });
  const refusals = [];
  try {
    const page = await context.newPage();
    page.on("response", (response) => {
      const url = new URL(response.url());
      if (response.status() >= 400 && url.origin !== base) refusals.push({ status: response.status(), path: url.pathname });
      const rendition = /\/seg-([01])-/.exec(url.pathname);
      if (rendition && response.status() < 300) order.renditions.add(rendition[1]);
    });
    const look = demo ? await visitDemo(page, order) : await playInPlayer(page, order, base);
    let why = judge(expect, order.seconds, look, demo ? [] : refusals);
    if (demo && !why && look.seen.length !== 3) why = `${look.seen.length} of 3 bad links were refused`;
    if (!why && expect === "plays") why = look.problems.find((problem) => problem.fatal)?.text ?? null;
    if (!why && given.switches && order.renditions.size < 2) why = `segments of ${order.renditions.size} renditions came`;
    const meanwhile = [];
    for (const one of why ? [] : given.meanwhile ?? []) meanwhile.push(await run(browser, base, one));
    if (given.meanwhile) why ??= meanwhile.find((one) => !one.ok)?.why ?? (await afterwards(page, order, refusals));
    return {
      name: given.name ?? given.player, player: given.player, ok: why === null, why, currentTime: look.time,
      errors: look.problems.map((problem) => problem.text), refusals, codes: look.seen, panel: look.panel, meanwhile,
    };
  } catch (error) {
    return { name: given.name ?? given.player, player: given.player, ok: false, why: String(error.message ?? error), currentTime: 0, errors: [], refusals, codes: [] };
  } finally {
    await context.close();
  }
}

async function main() {
  const order = JSON.parse(await text(process.stdin));
  const [server, base] = await servePage(order.page_host ?? "127.0.0.1", order.page_port ?? 0);
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, args: FLAGS });
  const results = [];
  const waiting = order.cases.map((one, at) => [one, at]);
  const work = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) results[next[1]] = await run(browser, base, next[0]);
  };
  await Promise.all(Array.from({ length: order.at_once ?? 1 }, work));
  const ok = results.every((result) => result.ok);
  console.log(JSON.stringify({ ok, browser: browser.version(), page: base, results }, null, 1));
  await browser.close();
  server.close();
  process.exitCode = ok ? 0 : 1;
}

main().catch((error) => {
  console.error(error);
  process.exit(2);
});

// Uploads through the gateway with the clients that people use.
//
// One JSON object on stdin:
//   client    uploader (@api.video/video-uploader in Chromium), tus (tus-js-client in node), recorder (the demo's page in Chromium)
//   host      for uploader: host:port of the gateway, over TLS
//   token     for uploader: the upload token
//   url       for tus: where uploads are made; for recorder: the page
//   headers   for tus: headers of every request
//   size      bytes to upload
//   chunk     bytes of one part
//   pause     for tus: ends the upload after the first part, and resumes it in a new client
// One JSON object on stdout: {ok, why, answer, sha256, seen}
// Exit code 0: it ran; 2: it could not.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { chromium } from "playwright-core";
import * as tus from "tus-js-client";

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
  "--disable-sync", "--disable-dev-shm-usage", "--no-proxy-server", "--ignore-certificate-errors",
];

// Bytes that both sides can make: no two parts of a file are alike.
function noise(size) {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; at += 4) bytes.writeUInt32LE((at * 2654435761) >>> 0, Math.min(at, size - 4));
  return bytes;
}

async function inBrowser(work) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS });
  try {
    const page = await browser.newPage({ ignoreHTTPSErrors: true });
    const seen = [];
    page.on("response", async (response) => {
      const body = await response.text().catch(() => "");
      seen.push(`${response.status()} ${response.request().method()} ${response.url()} ${JSON.stringify(response.headers())} ${body}`);
    });
    return { ...(await work(page)), seen };
  } finally {
    await browser.close();
  }
}

async function uploader({ host, token, size, chunk }) {
  const library = await readFile(new URL("node_modules/@api.video/video-uploader/dist/index.js", import.meta.url));
  const server = createServer((request, response) => {
    const script = request.url === "/lib.js";
    response.writeHead(200, { "content-type": script ? "text/javascript" : "text/html" }).end(script ? library : "<script src=/lib.js></script>");
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  try {
    return await inBrowser(async (page) => {
      await page.goto(`http://127.0.0.1:${server.address().port}/`);
      const bytes = noise(size);
      await page.evaluate((base64) => {
        window.bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      }, bytes.toString("base64"));
      return page.evaluate(async ({ host, token, chunk }) => {
        const file = new File([window.bytes], "film.mp4", { type: "video/mp4" });
        const uploader = new window.VideoUploader({ file, uploadToken: token, apiHost: host, chunkSize: chunk, retries: 2 });
        return uploader.upload().then((answer) => ({ ok: true, answer }), (error) => ({ ok: false, why: JSON.stringify(error) + error }));
      }, { host, token, chunk });
    });
  } finally {
    server.close();
  }
}

async function viaTus({ url, headers, size, chunk, pause }) {
  const bytes = noise(size);
  const statuses = [];
  const upload = (options) => new Promise((done, fail) => {
    const one = new tus.Upload(bytes, {
      endpoint: url, headers, chunkSize: chunk, retryDelays: [0, 100, 200], metadata: { filename: "film.mp4", filetype: "video/mp4" },
      onAfterResponse: (request, response) => { statuses.push(`${request.getMethod()} ${response.getStatus()}`); },
      onError: fail, onSuccess: () => done(one.url), ...options,
      onChunkComplete: (_size, accepted) => { if (options.until && accepted >= options.until) one.abort().then(() => done(one.url)); },
    });
    one.start();
  });
  const place = await upload(pause ? { until: chunk } : {});
  const end = pause ? await upload({ uploadUrl: place }) : place;
  return { ok: true, answer: { place: end, statuses }, sha256: createHash("sha256").update(bytes).digest("hex") };
}

async function recorder({ url }) {
  return inBrowser(async (page) => {
    await page.goto(url);
    await page.click("#picture");
    await page.waitForFunction(() => document.querySelector("#said").textContent === "recording");
    await page.waitForFunction(() => document.querySelector("#look").currentTime > 1.5);
    await page.click("#stop");
    await page.waitForFunction(() => document.querySelector("#said").dataset.state, null, { timeout: 20000 });
    await page.waitForFunction(() => document.querySelector("#files").children.length > 0);
    const answer = await page.evaluate(() => ({
      state: document.querySelector("#said").dataset.state, files: document.querySelector("#files").textContent, page: document.documentElement.outerHTML,
    }));
    return { ok: answer.state === "good", why: answer.state, answer };
  });
}

const order = JSON.parse(await text(process.stdin));
try {
  const done = await { uploader, tus: viaTus, recorder }[order.client](order);
  console.log(JSON.stringify(done));
} catch (error) {
  console.log(JSON.stringify({ ok: false, why: String(error.stack ?? error) }));
}

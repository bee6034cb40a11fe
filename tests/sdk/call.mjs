// The vendors' SDKs for Node calling their vendor through a gateway, by a key of the gateway's. Order on standard input:
//   {"vendor": "apivideo", "base": "http://…", "key": "…", "account": "…", "app": "…", "file": "…", "chunk": 5242880}
// result on standard output.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const require = createRequire(import.meta.url);
const ApiVideoClient = require('@api.video/nodejs-client').default ?? require('@api.video/nodejs-client');
const Ziggeo = require('ziggeo');
const Cloudflare = require('cloudflare').default ?? require('cloudflare');

const order = JSON.parse(readFileSync(0, 'utf8'));

async function apivideo() {
  const client = new ApiVideoClient({ apiKey: order.key, baseUri: order.base, chunkSize: order.chunk });
  const { videoId } = await client.videos.create({ title: 'film' });
  return { video: (await client.videos.upload(videoId, order.file)).videoId };
}

async function ziggeo() {
  const sdk = new Ziggeo(order.app, order.key, 'unused');
  sdk.Connect.baseUri = sdk.ApiConnect.baseUri = sdk.CdnConnect.baseUri = order.base;
  const call = (name, ...given) =>
    new Promise((success, reject) => sdk.Videos[name](...given, { success, failure: (error) => reject(new Error(String(error))) }));
  const made = await call('create', { file: order.file, tags: ['a'] });
  const listed = await call('index', { limit: 2 });
  return { video: made.token, listed: listed.map((one) => one.token), got: (await call('get', made.token)).token };
}

async function cloudflare() {
  const client = new Cloudflare({ apiToken: order.key, baseURL: `${order.base}/client/v4`, maxRetries: 0 });
  const made = await client.stream.directUpload.create({ account_id: order.account, maxDurationSeconds: 3600 });
  // Whoever records has no key.
  const form = new FormData();
  form.append('file', new Blob([readFileSync(order.file)], { type: 'video/mp4' }), 'film.mp4');
  return { video: made.uid, sent: (await fetch(made.uploadURL, { method: 'POST', body: form })).status };
}

const result = await { apivideo, ziggeo, cloudflare }[order.vendor]().catch((error) => ({ broke: String(error?.stack ?? error) }));
console.log(JSON.stringify(result));
process.exit(0);

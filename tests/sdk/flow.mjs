// The vendors' SDKs for Node against a running gateway. Reads an order from standard input:
//   {"control": "http://…", "data": "http://…", "key": "…", "account": "…", "app": "…", "encryption": "…", "file": "…"}
// and prints one JSON object: what each SDK said. Nothing is judged here.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';

const require = createRequire(import.meta.url);
const ApiVideoClient = require('@api.video/nodejs-client').default ?? require('@api.video/nodejs-client');
const Ziggeo = require('ziggeo');
const Cloudflare = require('cloudflare').default ?? require('cloudflare');

const order = JSON.parse(readFileSync(0, 'utf8'));
const fail = async (call) => {
  try {
    await call();
    return 'no error';
  } catch (error) {
    return { code: error.code ?? error.status, title: error.problemDetails?.title, name: error.constructor.name };
  }
};
const status = async (path, init) => (await fetch(order.data + path, init)).status;

async function apivideo() {
  const client = new ApiVideoClient({ apiKey: order.key, baseUri: order.control });
  const said = {};
  said.access = Object.keys(await client.getAccessToken(order.key)).sort();
  const tokens = [];
  for (const ttl of [300, 0, 100]) tokens.push(await client.uploadTokens.createToken({ ttl }));
  said.created = tokens.map((token) => ({ ttl: token.ttl, ends: token.expiresAt instanceof Date, id: token.token.slice(0, 2) }));
  const page = await client.uploadTokens.list({ sortBy: 'ttl', sortOrder: 'asc', currentPage: 1, pageSize: 2 });
  said.listed = page.data.map((token) => token.ttl);
  said.pages = page.pagination.pagesTotal;
  said.got = (await client.uploadTokens.getToken(tokens[1].token)).ttl;
  const uploader = new ApiVideoClient({ baseUri: order.data });
  said.uploaded = (await uploader.videos.uploadWithUploadToken(tokens[1].token, order.file)).videoId;
  await client.uploadTokens.deleteToken(tokens[1].token);
  said.refused = await fail(() => uploader.videos.uploadWithUploadToken(tokens[1].token, order.file));
  said.missing = await fail(() => client.uploadTokens.getToken('toMissing'));
  said.bad = await fail(() => client.uploadTokens.createToken({ ttl: -1 }));
  said.wrong = await fail(() => new ApiVideoClient({ apiKey: 'wrong', baseUri: order.control }).uploadTokens.list());
  const video = await client.videos.get('vi4k0jvEUuaTdRAEjQ4Jfrgz');
  const hls = new URL(video.assets.hls).pathname;
  said.played = [await status(hls), await status(hls)];
  const live = await client.liveStreams.get('li4pqNqGUkhKfWcBGpZVLRY5');
  said.live = new URL(live.assets.hls).pathname.replace(/[0-9a-f-]{36}/, 'TOKEN');
  return said;
}

async function ziggeo() {
  const sdk = new Ziggeo(order.app, order.key, order.encryption);
  sdk.Connect.baseUri = sdk.ApiConnect.baseUri = sdk.CdnConnect.baseUri = order.control;
  const call = (name, ...args) =>
    new Promise((resolve, reject) => sdk.Authtokens[name](...args, { success: resolve, failure: (_, error) => reject(error) }));
  const failing = (name, ...args) =>
    new Promise((resolve) => sdk.Authtokens[name](...args, { success: () => resolve('no error'), failure: (message) => resolve(String(message?.toString?.() ?? message)) }));
  const said = {};
  const play = (token, how) => status(`/v1/applications/${order.app}/videos/v1/video.mp4?${how}=${token}`);
  const made = await call('create', { session_limit: 2, volatile: true, hidden: false, grants: { read: { all: true } } });
  said.created = { length: made.token.length, limit: made.session_limit, volatile: made.volatile, grants: made.grants };
  said.got = (await call('get', made.token)).token === made.token;
  said.played = await play(made.token, 'server_auth');
  said.updated = (await call('update', made.token, { session_limit: 5 })).session_limit;
  await call('destroy', made.token);
  said.refused = await play(made.token, 'server_auth');
  said.missing = await failing('get', made.token);
  const client = sdk.Auth.generate({ grants: { read: { resources: ['v1'] } } });
  said.client = [await play(client, 'client_auth'), await status(`/v1/applications/${order.app}/videos/v2/video.mp4?client_auth=${client}`)];
  return said;
}

async function cloudflare() {
  const client = new Cloudflare({ apiToken: order.key, baseURL: `${order.control}/client/v4`, maxRetries: 0 });
  const account_id = order.account;
  const uid = 'ea95132c15732412d22c1476fa83f27a';
  const said = {};
  const play = (token) => status(`/cf/${token}/manifest/video.m3u8`);
  const minted = await client.stream.token.create(uid, { account_id });
  said.minted = await play(minted.token);
  const key = await client.stream.keys.create({ account_id, body: {} });
  said.key = [key.id.length, Buffer.from(key.pem, 'base64').toString().split('\n')[0], JSON.parse(Buffer.from(key.jwk, 'base64').toString()).kid === key.id];
  const listed = await client.stream.keys.get({ account_id });
  const list = Array.isArray(listed) ? listed : (listed.result ?? []);
  said.listed = list.map((one) => one.id === key.id);
  const exp = Math.floor(Date.now() / 1000) + 600;
  const given = await client.stream.token.create(uid, { account_id, id: key.id, pem: key.pem, exp, downloadable: true });
  said.played = await play(given.token);
  const edited = await client.stream.edit(uid, { account_id, requireSignedURLs: true, allowedOrigins: ['example.com'] });
  said.edited = [edited.requireSignedURLs, edited.allowedOrigins];
  said.elsewhere = await play(given.token);
  await client.stream.edit(uid, { account_id, allowedOrigins: [] });
  said.deleted = await client.stream.keys.delete(key.id, { account_id });
  said.refused = [await play(given.token), await play(minted.token)];
  said.long = await fail(() => client.stream.token.create(uid, { account_id, exp: exp + 90000 }));
  const wrong = new Cloudflare({ apiToken: 'wrong', baseURL: `${order.control}/client/v4`, maxRetries: 0 });
  said.wrong = await fail(() => wrong.stream.keys.get({ account_id }));
  const classic = new Cloudflare({ apiEmail: 'user@example.com', apiKey: order.key, baseURL: `${order.control}/client/v4/`, maxRetries: 0 });
  said.classic = typeof (await classic.stream.token.create(uid, { account_id })).token;
  return said;
}

const said = {};
for (const [name, run] of Object.entries({ apivideo, ziggeo, cloudflare })) {
  try {
    said[name] = await run();
  } catch (error) {
    said[name] = { broke: String(error?.stack ?? error), details: error?.problemDetails, status: error?.status };
  }
}
console.log(JSON.stringify(said));
process.exit(0);

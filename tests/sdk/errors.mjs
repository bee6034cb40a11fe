// The vendors' SDKs for Node, refused by running gateways. Reads an order from standard input:
//   {"control": "http://…", "away": "http://…", "limited": {"apivideo": "…", …}, "key": "…", "account": "…", "app": "…", "encryption": "…"}
// where keys of `limited` may ask `control` once a minute, and the ledger of `away` is away; prints what each SDK said.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const require = createRequire(import.meta.url);
const ApiVideoClient = require('@api.video/nodejs-client').default ?? require('@api.video/nodejs-client');
const Ziggeo = require('ziggeo');
const Cloudflare = require('cloudflare').default ?? require('cloudflare');

const order = JSON.parse(readFileSync(0, 'utf8'));
const fail = async (call, shown) => {
  try {
    return { done: await call() };
  } catch (error) {
    return shown(error);
  }
};

async function apivideo() {
  const list = (apiKey, baseUri) => () => new ApiVideoClient({ apiKey, baseUri }).uploadTokens.list();
  const shown = (error) => ({ code: error.code, title: error.problemDetails?.title });
  await list(order.limited.apivideo, order.control)();
  return {
    limited: await fail(list(order.limited.apivideo, order.control), shown),
    away: await fail(list(order.key, order.away), shown),
  };
}

async function ziggeo() {
  const create = (key, base) => {
    const sdk = new Ziggeo(order.app, key, order.encryption);
    sdk.Connect.baseUri = sdk.ApiConnect.baseUri = sdk.CdnConnect.baseUri = base;
    return new Promise((resolve) =>
      sdk.Authtokens.create({}, {
        success: () => resolve('no error'),
        failure: (error) => resolve({ failure: String(error), status: error.status_code?.() }),
      }));
  };
  await create(order.limited.ziggeo, order.control);
  return {
    wrong: await create('wrong', order.control),
    limited: await create(order.limited.ziggeo, order.control),
    away: await create(order.key, order.away),
  };
}

async function cloudflare() {
  const list = (apiToken, base, more) => () =>
    new Cloudflare({ apiToken, baseURL: `${base}/client/v4`, ...more }).stream.keys.get({ account_id: order.account });
  const shown = (error) => ({ name: error.constructor.name, status: error.status });
  await list(order.limited.cloudflare, order.control)();
  return {
    limited: await fail(list(order.limited.cloudflare, order.control, { maxRetries: 0 }), shown),
    away: await fail(list(order.key, order.away), shown),
  };
}

const said = {};
for (const [name, run] of Object.entries({ apivideo, ziggeo, cloudflare })) {
  said[name] = await run().catch((error) => ({ broke: String(error?.stack ?? error) }));
}
console.log(JSON.stringify(said));
process.exit(0);

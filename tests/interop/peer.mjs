// Signs and verifies with the libraries of others. Reads a list of orders (JSON) from standard input and writes the list
// of answers: for each {library, do, ...} either {ok: value} or {refused: reason}.

import { readFileSync } from "node:fs";

async function cloudfront(order) {
  const { getSignedCookies, getSignedUrl } = await import("@aws-sdk/cloudfront-signer");
  const common = { keyPairId: "K1", privateKey: order.key, hashAlgorithm: order.hash };
  const what = order.policy ? { policy: order.policy } : { dateLessThan: new Date(order.end * 1000).toISOString() };
  return order.do === "cookies" ? getSignedCookies({ url: order.url, ...common, ...what }) : getSignedUrl({ url: order.url, ...common, ...what });
}

async function akamai(order) {
  const { default: EdgeAuth } = await import("akamai-edgeauth");
  const auth = new EdgeAuth({
    key: order.key, endTime: order.end, algorithm: order.algorithm ?? "sha256", escapeEarly: false,
    salt: order.salt, ip: order.ip, payload: order.payload, sessionId: order.session_id,
  });
  return order.acl ? auth.generateACLToken(order.acl) : auth.generateURLToken(order.url);
}

async function cat(order) {
  const { CAT } = await import("@eyevinn/cat");
  const validator = new CAT({ keys: { h: Buffer.from(order.key, "hex") }, expectCwtTag: true });
  if (order.do === "sign") {
    return validator.generateFromJson(order.claims, { type: "mac", alg: "HS256", kid: "h" });
  }
  const result = await validator.validate(order.token, "mac", { issuer: order.issuer, url: new URL(order.url) });
  if (result.error) throw result.error;
  return result.cat?.claims ?? true;
}

async function mux(order) {
  const { default: Mux } = await import("@mux/mux-node");
  const client = new Mux({ tokenId: "unused", tokenSecret: "unused", jwtSigningKey: "k", jwtPrivateKey: Buffer.from(order.key).toString("base64") });
  return client.jwt.signPlaybackId(order.id, { type: order.type ?? "video", expiration: "1h" });
}

const libraries = { "@aws-sdk/cloudfront-signer": cloudfront, "akamai-edgeauth": akamai, "@eyevinn/cat": cat, "@mux/mux-node": mux };
const answers = [];
for (const order of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    answers.push({ ok: await libraries[order.library](order) });
  } catch (fault) {
    answers.push({ refused: `${fault.name}: ${fault.message}` });
  }
}
process.stdout.write(JSON.stringify(answers));

// The Node client of api.video. Order on standard input: { base, key?, token?, file, chunk?, chunks? }; result on standard output.
import { readFileSync } from 'node:fs';
import ApiVideoClient from '@api.video/nodejs-client';

const order = JSON.parse(readFileSync(0, 'utf8'));
const client = new ApiVideoClient({ apiKey: order.key, baseUri: order.base, chunkSize: order.chunk });
const result = {};
try {
  if (order.key) {
    const made = await client.uploadTokens.createToken({ ttl: 3600 });
    result.made = made.token;
    result.got = (await client.uploadTokens.getToken(made.token)).ttl;
    result.listed = (await client.uploadTokens.list({ pageSize: 10 })).data.map((token) => token.token);
    await client.uploadTokens.deleteToken(made.token);
    result.after = await client.uploadTokens.getToken(made.token).catch((error) => error.code);
    result.bearer = (await client.getAccessToken()).token_type ?? (await client.getAccessToken()).tokenType;
  }
  if (order.token && order.progressive) {
    const session = client.videos.createUploadProgressiveSessionWithToken
      ? client.videos.createUploadProgressiveSessionWithToken(order.token)
      : client.videos.createUploadWithUploadTokenProgressiveSession(order.token);
    for (const part of order.progressive.slice(0, -1)) await session.uploadPart(part);
    result.video = (await session.uploadLastPart(order.progressive.at(-1))).videoId;
  } else if (order.token) {
    result.video = (await client.videos.uploadWithUploadToken(order.token, order.file)).videoId;
  } else if (order.file) {
    const video = await client.videos.create({ title: 'film' });
    result.video = (await client.videos.upload(video.videoId, order.file)).videoId;
  }
} catch (error) {
  result.error = { code: error.code, message: String(error.message), problem: error.problemDetails ?? null };
}
console.log(JSON.stringify(result));

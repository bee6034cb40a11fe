// tus-js-client. Order on standard input: { endpoint? | url?, fields?, file, chunk, stopAfter?, delays? }; result on standard output.
import { createReadStream, readFileSync, statSync } from 'node:fs';
import { Upload } from 'tus-js-client';

const order = JSON.parse(readFileSync(0, 'utf8'));
const result = { seen: [] };
const settings = {
  headers: order.fields ?? {},
  chunkSize: order.chunk,
  uploadSize: statSync(order.file).size,
  metadata: { name: 'film.mp4' },
  retryDelays: order.delays ?? [0, 50, 100, 200],
  onAfterResponse: (request, response) => {
    result.seen.push(`${request.getMethod()} ${response.getStatus()}`);
    result.media ??= response.getHeader('stream-media-id');
  },
};
// A request that got no answer is retried without a word to onAfterResponse.
const run = (source, more) =>
  new Promise((done) => {
    const upload = new Upload(source, { ...settings, ...more, onError: (error) => done({ upload, error }), onSuccess: () => done({ upload }) });
    if (order.stopAfter) {
      upload.options.onChunkComplete = (size, accepted) => {
        if (accepted < order.stopAfter) return;
        order.stopAfter = 0;
        upload.abort().then(() => done({ upload, stopped: true }));
      };
    }
    upload.start();
  });
let ended = await run(createReadStream(order.file), { endpoint: order.endpoint, uploadUrl: order.url });
if (ended.stopped) ended = await run(createReadStream(order.file), { uploadUrl: ended.upload.url });
result.url = ended.upload.url;
if (ended.error) result.error = { message: String(ended.error.message), status: ended.error.originalResponse?.getStatus() ?? null };
console.log(JSON.stringify(result));

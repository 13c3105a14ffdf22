// What the real `@fal-ai/client` does through a proxy: `node proxied.mjs PROXY_URL REALTIME_URL < plan.json`.
//
// The plan is a list of [kind, app, options]: `run`, `subscribe`, `stream`, `realtime`, `upload`. Prints a list of what
// each gave: {"result": …} or {"error": {name, message, status, body}}. Only the WebSocket is sent elsewhere than the
// client says, since it knows one address only.
import { createFalClient } from "@fal-ai/client";
import { WebSocket } from "ws";

const [proxyUrl, realtimeUrl] = process.argv.slice(2);

globalThis.WebSocket = class extends WebSocket {
  constructor(address) {
    const url = new URL(address);
    super(realtimeUrl + url.pathname + url.search);
  }
};

const fal = createFalClient({ proxyUrl: { url: proxyUrl, when: "always" }, retry: { maxRetries: 0 } });

const kinds = {
  run: async (app, options) => (await fal.run(app, options)).data,
  subscribe: async (app, options) => (await fal.subscribe(app, { pollInterval: 10, ...options })).data,
  stream: async (app, options) => {
    const events = [];
    const stream = await fal.stream(app, options);
    for await (const event of stream) events.push(event);
    return events;
  },
  realtime: (app, options) =>
    new Promise((resolve, reject) => {
      const connection = fal.realtime.connect(app, {
        throttleInterval: 0,
        onResult: (result) => {
          connection.close();
          resolve(result);
        },
        onError: reject,
      });
      connection.send(options.input);
    }),
  upload: async () => fal.storage.upload(new Blob(["x"], { type: "text/plain" })),
};

const shown = ({ name, message, status, body }) => ({ name, message, status, body });
const body = [];
for await (const part of process.stdin) body.push(part);
const seen = [];
for (const [kind, app, options] of JSON.parse(Buffer.concat(body).toString())) {
  seen.push(
    await kinds[kind](app, options).then(
      (result) => ({ result }),
      (error) => ({ error: shown(error) }),
    ),
  );
}
process.stdout.write(`${JSON.stringify(seen)}\n`, () => process.exit(0));

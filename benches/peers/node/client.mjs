// Measures `@fal-ai/client`'s realtime connection on Node, with `ws` as its WebSocket.
// Takes one JSON argument (see external.py) and prints one line of JSON.

import { createRequire } from "node:module";
import { join } from "node:path";
import { performance } from "node:perf_hooks";

const spec = JSON.parse(process.argv[2]);
const require = createRequire(join(spec.modules, "package.json"));
const { createFalClient } = require("@fal-ai/client");
const WebSocket = require("ws");

// The client knows one address only. What it asks for is opened at the benchmark's server.
globalThis.WebSocket = class extends WebSocket {
  constructor(address) {
    const { pathname, search } = new URL(address);
    super(`${spec.url}${pathname}${search}`, { perMessageDeflate: false });
  }
};

const message = {
  prompt: "a cat in a hat, watercolour",
  seed: 10_000_000,
  strength: 0.65,
  num_inference_steps: 3,
  sync_mode: true,
  request_id: "7b1c2f5e-bench",
};
if (spec.bulk > 0) message.image_bytes = new Uint8Array(spec.bulk).map((_, index) => index * 31);

const client = createFalClient({ credentials: "bench:key" });
const single = spec.window * spec.connections === 1;
let count = 0;
let last = performance.now();
let intervals = [];

// Resolves when the connection has answered once; from then on it keeps `window` messages in flight.
const open = () =>
  new Promise((resolve, reject) => {
    let warm = false;
    const connection = client.realtime.connect(spec.app, {
      throttleInterval: 0,
      tokenProvider: async () => "bench-token",
      onError: reject,
      onResult: () => {
        if (!warm) {
          warm = true;
          resolve(() => {
            for (let index = 0; index < spec.window; index++) connection.send(message);
          });
          return;
        }
        count++;
        if (single) {
          const now = performance.now();
          intervals.push(now - last);
          last = now;
        }
        connection.send(message);
      },
    });
    connection.send(message);
  });

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

const starts = [];
for (let index = 0; index < spec.connections; index++) starts.push(await open());
for (const start of starts) start();
await pause(spec.warmup);

count = 0;
intervals = [];
const cpuStart = process.cpuUsage();
const start = performance.now();
await pause(spec.seconds);
const wall = (performance.now() - start) / 1000;
const cpu = process.cpuUsage(cpuStart);

const result = {
  messages: count,
  rate: count / wall,
  cpu_us: (cpu.user + cpu.system) / Math.max(count, 1),
  wall,
};
if (single) {
  intervals.sort((a, b) => a - b);
  const at = (share) => intervals[Math.floor((intervals.length - 1) * share)] * 1000;
  Object.assign(result, { p50_us: at(0.5), p99_us: at(0.99) });
}
console.log(JSON.stringify(result));
process.exit(0);

// What becomes of the values of JavaScript that the real `@fal-ai/client` sends, each in a session of its own.
//
//   node values.mjs <base URL> <app> <path> <token>
//
// Prints one JSON object: for each value the results and the errors that came back.

import { createFalClient } from "@fal-ai/client";
import { WebSocket } from "ws";

const [base, app, path, token] = process.argv.slice(2);
const PATIENCE_MS = 5_000;

globalThis.WebSocket = class extends WebSocket {
  constructor(address) {
    const url = new URL(address);
    super(base + url.pathname + url.search);
  }
};

const VALUES = {
  "an object": { prompt: "a cat" },
  "a string": "text",
  "a number": 1.5,
  "an integer": 7,
  "a large integer": 2 ** 53,
  "NaN": NaN,
  "null": null,
  "undefined in an object": { v: undefined },
  "an array": [1, "a"],
  "a Date": new Date("2026-01-02T03:04:05.006Z"),
  "a Date in an object": { v: new Date("2026-01-02T03:04:05.006Z") },
  "bytes in an object": { v: new Uint8Array([255, 0]) },
  "a typed array in an object": { v: new Uint16Array([1, 2]) },
  "a Map in an object": { v: new Map([["a", 1]]) },
  "a Set in an object": { v: new Set([1]) },
  "a BigInt in an object": { v: 1n },
  "a class in an object": { v: new (class Point { x = 1; })() },
  "a URL in an object": { v: new URL("https://fal.ai/x") },
  "a function in an object": { v: () => 1 },
  "bytes that are a message": new Uint8Array([0x81, 0xa1, 0x61, 0x01]),
};

const fal = createFalClient({ credentials: "id:secret" });
const shown = (error) => String(error?.body?.reason ?? error?.message ?? error);

async function send(value) {
  const seen = { results: [], errors: [] };
  await new Promise((done) => {
    const connection = fal.realtime.connect(app, {
      path,
      throttleInterval: 0,
      connectionKey: Math.random().toString(),
      tokenProvider: async () => token,
      onResult: (result) => { seen.results.push(result); finish(); },
      onError: (error) => { seen.errors.push(shown(error)); finish(); },
    });
    const finish = () => { connection.close(); done(); };
    setTimeout(finish, PATIENCE_MS);
    try {
      connection.send(value);
    } catch (error) {
      seen.errors.push(`thrown by send: ${shown(error)}`);
      finish();
    }
  });
  // What comes after the closing is of no interest.
  return structuredClone(seen);
}

const all = await Promise.all(Object.entries(VALUES).map(async ([name, value]) => [name, await send(value)]));
process.stdout.write(`${JSON.stringify(Object.fromEntries(all))}\n`, () => process.exit(0));

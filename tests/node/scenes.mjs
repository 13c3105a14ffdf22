// Scenes of the differential suite, played by the real `@fal-ai/client`; what came back, word for word.
//
//   node scenes.mjs <base URL> <app> <token> < plan.json
//
// The plan is a list of {name, path, inputs}. An input is {"value": …} (sent as it is), {"message": "<base64>"} (a message
// that is encoded already, which the client passes through), {"text": "…"} (by an encoder that gives text) or {"pause":
// seconds}. Prints one JSON object: for each name the list of what came.

import { AsyncLocalStorage } from "node:async_hooks";
import { inspect } from "node:util";
import { createFalClient } from "@fal-ai/client";
import { WebSocket } from "ws";

const [base, app, token] = process.argv.slice(2);
const PATIENCE_MS = 8_000;
const AT_ONCE = 16;

const scenes = new AsyncLocalStorage();
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const shown = (value) =>
  inspect(value, { depth: Infinity, maxArrayLength: Infinity, maxStringLength: Infinity, breakLength: Infinity })
    .replaceAll(base, "…")
    .replace(/0x[0-9a-f]{6,}/g, "0x…");

class Text {
  constructor(text) {
    this.text = text;
  }
}

globalThis.WebSocket = class extends WebSocket {
  constructor(address) {
    const url = new URL(address);
    super(base + url.pathname + url.search);
    const scene = scenes.getStore();
    scene.sockets += 1;
    this.once("open", () => scene.opened());
    this.once("error", (error) => scene.lines.push(`socket error ${error.message}`.replaceAll(base, "…")));
    this.once("close", (code, reason) => {
      scene.lines.push(`closed ${code} ${shown(reason.toString())}`);
      // Callbacks of the client's own come in the same turn.
      setTimeout(scene.closed, 20);
    });
  }
};

const fal = createFalClient({ credentials: "key-id:key-secret" });

function inputOf({ value, message, text }) {
  if (message !== undefined) return new Uint8Array(Buffer.from(message, "base64"));
  return text === undefined ? value : new Text(text);
}

async function play({ name, path, inputs }) {
  const scene = { sockets: 0, lines: [] };
  const opened = new Promise((done) => { scene.opened = done; });
  const closed = new Promise((done) => { scene.closed = done; });
  await scenes.run(scene, async () => {
    const connection = fal.realtime.connect(app, {
      path,
      throttleInterval: 0,
      connectionKey: name,
      tokenProvider: async () => token,
      ...(inputs.some((input) => input.text !== undefined)
        ? { encodeMessage: (input) => (input instanceof Text ? input.text : input) }
        : {}),
      onResult: (result) => scene.lines.push(`result ${shown(result)}`),
      onError: ({ message, status, body }) => scene.lines.push(`error ${shown({ message, status, body })}`),
    });
    const over = Promise.race([closed, sleep(PATIENCE_MS).then(() => scene.lines.push("no end"))]);
    for (const [index, input] of inputs.entries()) {
      if (input.pause !== undefined) {
        await sleep(input.pause * 1000);
        continue;
      }
      try {
        connection.send(inputOf(input));
      } catch (error) {
        scene.lines.push(`thrown by send: ${error.message}`);
      }
      // What is sent before the socket is open would collapse to the last.
      if (index === 0) await Promise.race([opened, closed]);
    }
    await over;
    connection.close();
  });
  return [name, scene.lines];
}

let plan = "";
for await (const part of process.stdin) plan += part;
const waiting = JSON.parse(plan);
const all = [];
async function worker() {
  while (waiting.length > 0) all.push(await play(waiting.shift()));
}
await Promise.all(Array.from({ length: AT_ONCE }, worker));
process.stdout.write(JSON.stringify(Object.fromEntries(all)), () => process.exit(0));

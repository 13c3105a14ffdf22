// One realtime session of the real `@fal-ai/client` with a server on this machine, as told by a plan.
//
//   node session.mjs <plan as JSON>
//
// The plan:
//   rest, realtime   where the token request and the WebSocket go instead of https://rest.fal.ai and wss://fal.run
//   credentials      the key
//   app, options     the arguments of `fal.realtime.connect`
//   token            the token that a `tokenProvider` gives; without it the client requests one with the key
//   inputs           sent one by one: the first opens, the others follow its result
//   results, errors  how many to wait for before closing
//   until_closed     do not close: wait until the server does
//
// Prints what was seen as one JSON object: dialled (addresses as the client wrote them, without the token), results,
// errors and, once closed, closeCode. Bytes are written as {"$bytes": "<base64>"}, in the plan too.
//
// The client knows one address only. Nothing else of it is touched: the token request is redirected by its own
// `requestMiddleware`, the WebSocket by the class that it takes from the environment.

import { createFalClient } from "@fal-ai/client";
import { WebSocket } from "ws";

const PATIENCE_MS = 15_000;

const plan = JSON.parse(process.argv[2], (_, value) =>
  typeof value?.$bytes === "string" ? new Uint8Array(Buffer.from(value.$bytes, "base64")) : value,
);
const seen = { dialled: [], results: [], errors: [], closeCode: null };

function finish(status) {
  const bytesAsText = function (key, value) {
    return this[key] instanceof Uint8Array ? { $bytes: Buffer.from(this[key]).toString("base64") } : value;
  };
  // Not before all of it is written: to a pipe that takes a while.
  process.stdout.write(`${JSON.stringify(seen, bytesAsText)}\n`, () => process.exit(status));
}

setTimeout(() => finish(1), PATIENCE_MS);

globalThis.WebSocket = class extends WebSocket {
  constructor(address) {
    const url = new URL(address);
    super(plan.realtime + url.pathname + url.search);
    url.searchParams.delete("fal_jwt_token");
    seen.dialled.push(url.href);
    this.once("close", (code) => {
      seen.closeCode = code;
    });
  }
};

const fal = createFalClient({
  credentials: plan.credentials,
  requestMiddleware: async (request) => ({
    ...request,
    url: request.url.replace("https://rest.fal.ai", plan.rest),
  }),
  retry: { maxRetries: 0 },
});

let looking = true;

function look() {
  if (!looking || seen.results.length < plan.results || seen.errors.length < plan.errors) {
    return;
  }
  looking = false;
  if (!plan.until_closed) {
    connection.close();
  }
  const closed = setInterval(() => {
    if (seen.closeCode !== null) {
      clearInterval(closed);
      finish(0);
    }
  }, 5);
}

const connection = fal.realtime.connect(plan.app, {
  throttleInterval: 0,
  ...(plan.token === undefined ? {} : { tokenProvider: async () => plan.token }),
  ...plan.options,
  onResult: (result) => {
    seen.results.push(result);
    if (seen.results.length === 1) {
      plan.inputs.slice(1).forEach((input) => connection.send(input));
    }
    look();
  },
  onError: ({ message, status, body }) => {
    seen.errors.push({ message, status, body });
    look();
  },
});

connection.send(plan.inputs[0]);

// A stock @fal-ai/server-proxy on a free port of loopback: `node proxy.mjs [PATTERN]…` with more allowed addresses.
// Prints its port, and leaves when its standard input ends.
import { createServer } from "node:http";
import { DEFAULT_ALLOWED_URL_PATTERNS, handleRequest } from "@fal-ai/server-proxy";

const allowedUrlPatterns = [...DEFAULT_ALLOWED_URL_PATTERNS, ...process.argv.slice(2)];

const server = createServer(async (request, response) => {
  const body = [];
  for await (const chunk of request) body.push(chunk);
  await handleRequest(
    {
      id: "test",
      method: request.method,
      getRequestBody: async () => Buffer.concat(body).toString(),
      getHeaders: () => request.headers,
      getHeader: (name) => request.headers[name],
      sendHeader: (name, value) => response.setHeader(name, value),
      respondWith: (status, data) => {
        response.writeHead(status, { "content-type": "application/json" });
        response.end(JSON.stringify(data));
      },
      sendResponse: async (answer) => {
        response.writeHead(answer.status);
        response.end(await answer.text());
      },
    },
    {
      allowedUrlPatterns,
      allowUnauthorizedRequests: true,
      resolveFalAuth: async () => `Key ${process.env.PROXY_KEY}`,
    },
  );
});

process.stdin.on("end", () => process.exit(0)).resume();
server.listen(0, "127.0.0.1", () => console.log(server.address().port));

// The page of the example, for a bundler: draws, sends, shows.
import { createFalClient } from "@fal-ai/client";

const APP = "fal-ai/fast-lcm-diffusion";

// The client knows fal's address alone: its sockets go through this page's own server. Leave this out, and they go to fal.
const Direct = globalThis.WebSocket;
globalThis.WebSocket = class extends Direct {
  constructor(address, protocols) {
    const { hostname, pathname } = new URL(address);
    const relay = `${location.origin.replace("http", "ws")}/fal/relay${pathname}`;
    super(hostname === "fal.run" ? relay : address, protocols);
  }
};

const fal = createFalClient({ proxyUrl: "/fal/proxy/" });

async function token(app) {
  const headers = { "content-type": "application/json" };
  const answer = await fetch("/fal/token/", { method: "POST", headers, body: JSON.stringify({ app }) });
  if (!answer.ok) throw new Error((await answer.json()).message);
  return (await answer.json()).token;
}

const [drawing, result, prompt, status] = ["drawing", "result", "prompt", "status"].map((id) =>
  document.getElementById(id),
);
let results = 0;

const connection = fal.realtime.connect(APP, {
  tokenProvider: token,
  tokenExpirationSeconds: 120,
  throttleInterval: 64,
  onResult({ images: [{ content, content_type: type, width, height }] }) {
    URL.revokeObjectURL(result.src);
    result.src = URL.createObjectURL(new Blob([content], { type }));
    results += 1;
    status.textContent = `${results} results, the newest ${width} × ${height}`;
    status.dataset.results = results;
  },
  onError: (error) => {
    status.textContent = error.message;
  },
});

const pen = drawing.getContext("2d");
pen.fillStyle = "white";
pen.fillRect(0, 0, drawing.width, drawing.height);
pen.lineWidth = 14;
pen.lineCap = "round";
pen.strokeStyle = "#1f4e8c";
let seed = 0;

function send() {
  seed += 1;
  connection.send({ prompt: prompt.value, image_url: drawing.toDataURL("image/jpeg", 0.7), seed, strength: 0.7 });
}

drawing.addEventListener("pointerdown", (event) => {
  drawing.setPointerCapture(event.pointerId);
  pen.beginPath();
  pen.moveTo(...at(event));
});
drawing.addEventListener("pointermove", (event) => {
  if (event.buttons === 0) return;
  pen.lineTo(...at(event));
  pen.stroke();
  send();
});
prompt.addEventListener("input", send);

function at({ offsetX, offsetY }) {
  const scale = drawing.width / drawing.clientWidth;
  return [offsetX * scale, offsetY * scale];
}

// A server of a folder, and headless Chromium, for the tests of the package and of the page.
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { chromium } from "playwright-core";

const TYPES = {
  ".css": "text/css",
  ".html": "text/html",
  ".js": "text/javascript",
  ".png": "image/png",
  ".wasm": "application/wasm",
};

/** Serves the files of a folder. `asked` has the path of each request; `/slow/…` stops after the first bytes. */
export async function serve(folder) {
  const asked = [];
  const server = http.createServer((request, response) => {
    let name = decodeURIComponent(request.url.replace(/\?.*/, "")).replace(/\/$/, "/index.html");
    asked.push(name);
    const slow = name.startsWith("/slow/");
    if (slow) name = name.slice(5);
    const file = path.join(folder, path.normalize(name));
    if (!fs.existsSync(file)) return response.writeHead(404).end();
    const bytes = fs.readFileSync(file);
    response.writeHead(200, {
      "content-type": TYPES[path.extname(file)] ?? "application/octet-stream",
      "content-length": bytes.length,
    });
    if (slow) response.write(bytes.subarray(0, 1000));
    else response.end(bytes);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address();
  return { asked, port, url: `http://127.0.0.1:${port}/`, close: () => server.closeAllConnections() ?? server.close() };
}

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: [
      "--no-sandbox",
      // Software Vulkan is on no list of good GPUs.
      "--enable-unsafe-webgpu",
      "--use-fake-device-for-media-stream",
      "--use-fake-ui-for-media-stream",
      "--disable-background-networking",
      "--disable-component-update",
      // A host without https.
      "--host-resolver-rules=MAP insecure.test 127.0.0.1",
      ...(process.env.CHROMIUM_FLAGS ?? "").split(" ").filter(Boolean),
    ],
  });

/** The values of a NumPy file of float32. */
export function readNpy(file) {
  const bytes = fs.readFileSync(file);
  const start = 10 + bytes.readUInt16LE(8);
  return Array.from({ length: (bytes.length - start) / 4 }, (_, i) => bytes.readFloatLE(start + 4 * i));
}

/** The distance between two vectors, relative to the norm of the second. */
export function distance(found, expected) {
  if (found.length !== expected.length) return Infinity;
  const norm = (values) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));
  return norm(expected.map((v, i) => found[i] - v)) / norm(expected);
}

// The page in headless Chromium: the same classes as the command's, and what happens when something is missing.
//   CHROMIUM=PROGRAM node page.mjs FOLDER-OF-THE-PAGE FOLDER-WITH-expected.jsonl
import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import zlib from "node:zlib";
import { chromium } from "playwright-core";

const [site, work] = process.argv.slice(2);
// A build that is not optimised (step `web` of .ci/run) is larger than what visitors download.
const MOST_BYTES = process.env.CARGO_PROFILE_WEB_OPT_LEVEL ? 9e6 : 8e6;

// What a visitor downloads, as a server without Brotli compresses it.
const files = fs.readdirSync(site);
const sizes = files.map((f) => zlib.gzipSync(fs.readFileSync(path.join(site, f)), { level: 9 }).length);
const total = sizes.reduce((a, b) => a + b, 0);
console.log(files.map((f, i) => `${f} ${sizes[i]}`).join(", "), `: ${total} bytes compressed`);
assert.ok(total <= MOST_BYTES, `expected at most ${MOST_BYTES} bytes compressed, found ${total}`);

const types = { ".png": "image/png", ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".wasm": "application/wasm" };
const server = http.createServer((request, response) => {
  const file = path.join(site, path.normalize(request.url.replace(/\?.*/, "").replace(/^\/$/, "/index.html")));
  if (!fs.existsSync(file)) return response.writeHead(404).end();
  response.setHeader("content-type", types[path.extname(file)]);
  response.end(fs.readFileSync(file));
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const url = `http://127.0.0.1:${server.address().port}/`;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: [
    "--no-sandbox",
    // Software Vulkan is on no list of good GPUs.
    "--enable-unsafe-webgpu",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--disable-background-networking",
    "--disable-component-update",
    ...(process.env.CHROMIUM_FLAGS ?? "").split(" ").filter(Boolean),
  ],
});

async function open(prepare, query = "", timeout = 120_000) {
  const page = await browser.newPage({ viewport: { width: 420, height: 800 } });
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (m) => (m.type() === "error" ? complaints.push(m.text()) : console.log("console:", m.text())));
  if (prepare) await page.addInitScript(prepare);
  await page.goto(url + query);
  await page.waitForSelector("body[data-ready]", { state: "attached", timeout });
  return { page, complaints };
}

const status = (page) => page.textContent("#status");
async function classes(page) {
  await page.waitForSelector("#classes li", { timeout: 120_000 });
  return page.$$eval("#classes li", (items) =>
    items.map((i) => [i.querySelector(".label").textContent, i.querySelector("meter").value]),
  );
}

/** Drops or pastes files or text on the page. */
const give = (page, kind, files, text) =>
  page.evaluate(
    ([kind, files, text]) => {
      const transfer = new DataTransfer();
      for (const [name, file] of files) {
        transfer.items.add(new File([Uint8Array.from(atob(file), (c) => c.charCodeAt(0))], name, { type: "image/png" }));
      }
      if (text) transfer.setData("text/plain", text);
      const [Event, data] = kind === "drop" ? [DragEvent, "dataTransfer"] : [ClipboardEvent, "clipboardData"];
      document.body.dispatchEvent(new Event(kind, { [data]: transfer, bubbles: true, cancelable: true }));
    },
    [kind, files.map((file) => [path.basename(file), fs.readFileSync(file).toString("base64")]), text],
  );

try {
  const { page, complaints } = await open(() => {
    window.said = new Set();
    const note = () => window.said.add(document.getElementById("status")?.textContent);
    new MutationObserver(note).observe(document, { childList: true, subtree: true });
  });
  assert.equal(await status(page), "Ready.");
  const said = await page.evaluate(() => [...window.said]);
  assert.ok(said.some((text) => /^Loading the model: \d+\.\d of \d+\.\d MB$/.test(text)), said.join("; "));
  assert.ok(await page.isHidden("#progress"));
  // No empty frame for a picture that is not there.
  assert.ok(await page.isHidden("#picture"));
  await page.screenshot({ path: path.join(work, "start.png"), fullPage: true });

  // The samples.
  for (const [button, label] of [["ankle-boot", "Ankle boot"], ["bag", "Bag"], ["trouser", "Trouser"]]) {
    await page.click(`[data-file="${button}.png"]`);
    await page.waitForFunction((name) => document.getElementById("name").textContent === name, `${button}.png`);
    assert.equal((await classes(page))[0][0], label);
    assert.ok((await page.isVisible("#picture")) && (await page.isHidden("#doubt")));
  }
  console.log(await page.textContent("#facts"), await page.getAttribute("body", "data-kernels"));

  let most = 0;
  const expected = fs.readFileSync(path.join(work, "expected.jsonl"), "utf8").trim().split("\n").map((l) => JSON.parse(l));
  assert.ok(expected.length >= 10, `${expected.length} pictures`);
  for (const { image, top } of expected) {
    await page.evaluate(() => document.getElementById("classes").replaceChildren());
    await page.setInputFiles("#file", image);
    const found = await classes(page);
    assert.deepEqual(found.map((c) => c[0]), top.map((c) => c.label), image);
    for (const [i, [, probability]] of found.entries()) {
      const difference = Math.abs(probability - top[i].probability);
      most = Math.max(most, difference);
      assert.ok(difference < 1e-5, `${image}: ${found[i]}, expected ${top[i].probability}`);
    }
    assert.match(await page.textContent("#facts"), /^\d+ ms on ./);
  }
  console.log(`${expected.length} pictures: the same classes; probabilities differ by at most ${most.toExponential(1)}`);
  console.log(await page.textContent("#facts"));
  await page.screenshot({ path: path.join(work, "page.png") });

  // A file dropped anywhere, and a pasted one.
  const boot = expected.find(({ image }) => image.includes("ankle-boot"));
  for (const kind of ["drop", "paste"]) {
    await give(page, kind, [boot.image]);
    // Until its own answer comes, there is none under it.
    const left = await page.$$eval("#classes li", (items) => items.map((item) => item.textContent));
    assert.ok(!left.length || left[0].startsWith(boot.top[0].label), `${left}`);
    assert.equal((await classes(page))[0][0], boot.top[0].label);
    await page.waitForFunction(() => document.getElementById("status").textContent === "Ready.");
    // Text is no picture, and what is shown stays.
    await give(page, kind, [], "https://example.org/boot.png");
    assert.match(await status(page), /^Expected a picture/);
    assert.equal((await classes(page))[0][0], boot.top[0].label);
  }
  // The parts on which it rests are those of the command.
  await page.click("#why");
  await page.waitForSelector("#heat", { timeout: 120_000 });
  const heat = await page.$eval("#heat", ({ values }) => values);
  const npy = fs.readFileSync(path.join(work, "boot.npy"));
  const start = 10 + npy.readUInt16LE(8);
  assert.equal(heat.length, (npy.length - start) / 4);
  const known = heat.map((_, i) => npy.readFloatLE(start + 4 * i));
  const unlike = Math.sqrt(heat.reduce((sum, v, i) => sum + (v - known[i]) ** 2, 0) / known.reduce((sum, v) => sum + v * v, 0));
  assert.ok(unlike < 1e-4, `heat maps differ by ${unlike}`);
  const [over, under] = await Promise.all(["#heat", "#picture"].map((id) => page.locator(id).boundingBox()));
  for (const side of ["x", "y", "width", "height"]) assert.ok(Math.abs(over[side] - under[side]) < 1, "the map is not on the picture");
  await page.screenshot({ path: path.join(work, "why.png"), fullPage: true });
  await page.click("#why");
  assert.ok(await page.isHidden("#heat"));

  // An answer that the other classes outweigh.
  const rocket = expected.find(({ image }) => image.includes("rocket"));
  assert.ok(rocket.top[0].probability < 0.5);
  await page.setInputFiles("#file", rocket.image);
  await classes(page);
  assert.ok(await page.isVisible("#doubt"));
  await page.screenshot({ path: path.join(work, "unsure.png"), fullPage: true });

  // Of two at once, only the answer of the one that is shown.
  const bag = expected.find(({ image }) => image.includes("bag"));
  await page.setInputFiles("#file", boot.image);
  await page.setInputFiles("#file", bag.image);
  await page.waitForFunction(() => document.getElementById("status").textContent === "Ready.");
  assert.equal((await classes(page))[0][0], bag.top[0].label);

  // The camera: Chromium's stand-in shows a moving pattern, of which only the form of the answer is known.
  await page.evaluate(() => document.getElementById("classes").replaceChildren());
  await page.click("#camera");
  const seen = await classes(page);
  assert.equal(seen.length, 5);
  assert.ok(seen.every(([, p], i) => p >= 0 && p <= 1 && (i === 0 || p <= seen[i - 1][1])), String(seen));
  await page.click("#camera");
  await page.waitForFunction(() => document.getElementById("status").textContent === "Ready.");

  // What is no picture is told, and the next picture is classified all the same.
  await page.setInputFiles("#file", { name: "notes.png", mimeType: "image/png", buffer: Buffer.from("no picture") });
  await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("notes.png: "));
  assert.equal(await page.getAttribute("#status", "class"), "trouble");
  assert.ok(await page.isHidden("#picture"), "the message is over another picture");
  await page.setInputFiles("#file", boot.image);
  assert.equal((await classes(page))[0][0], boot.top[0].label);
  await page.waitForFunction(() => document.getElementById("status").textContent === "Ready.");

  // Two pictures: LPIPS and its parts as PyTorch has them in float64 (tests/comparison.rs, which wrote the pairs).
  await page.click("[data-mode=compare]");
  const pairs = JSON.parse(fs.readFileSync(path.join(work, "pairs/pairs.json"), "utf8"));
  assert.equal(pairs.length, 5);
  let off = 0;
  for (const [index, { name, lpips, layers }] of pairs.entries()) {
    await page.setInputFiles("#first", path.join(work, `pairs/${index}-a.ppm`));
    await page.setInputFiles("#second", path.join(work, `pairs/${index}-b.ppm`));
    await page.waitForSelector("#numbers dd", { timeout: 120_000 });
    await page.waitForFunction(() => document.getElementById("status").textContent === "Ready.");
    const found = await page.$eval("#numbers", ({ dataset }) => [dataset.lpips, ...dataset.layers.split(" ")].map(Number));
    for (const [i, value] of [lpips, ...layers].entries()) {
      off = Math.max(off, Math.abs(found[i] - value));
      assert.ok(Math.abs(found[i] - value) < 1e-5, `${name}: ${found}, expected ${lpips}, ${layers}`);
    }
  }
  console.log(`five pairs: LPIPS and its parts off by at most ${off.toExponential(1)}`);
  console.log(await page.textContent("#facts"));
  await page.waitForFunction(() => document.getElementById("map").naturalWidth > 0);
  // Pictures that the browser shows too.
  const shown = ["chelsea.png", "coffee.png"].map((name) => path.join(path.dirname(boot.image), name));
  await page.setInputFiles("#first", shown[1]);
  await page.setInputFiles("#second", shown[1]);
  await page.waitForFunction(() => document.getElementById("numbers").dataset.lpips === "0");
  await page.waitForFunction(() => document.getElementById("status").textContent === "Ready.");
  await page.screenshot({ path: path.join(work, "compare.png"), fullPage: true });
  // Both at once, and of different sizes: told, with no numbers of another pair left.
  await give(page, "drop", shown);
  await page.waitForSelector("#status.trouble");
  assert.match(await status(page), /expected pictures of the same size, found 451×300 and 600×400/);
  assert.equal(await page.$$eval("#numbers dd", (cells) => cells.length), 0);
  await page.click("[data-mode=classify]");

  // With the keyboard alone: the file input takes the focus.
  await page.focus("#file");
  assert.equal(await page.evaluate(() => document.activeElement.id), "file");
  assert.deepEqual(complaints, []);

  // wgpu offers no subgroups in browsers, so that the tiled kernels are all there are; who denies them is told.
  assert.match(await page.getAttribute("body", "data-kernels"), /Tiled/);
  const denied = await open(undefined, "?deny=tiled");
  assert.match(await status(denied.page), /blocked \(tiled\)/);
  const texture = await open(undefined, "?deny=buffer");
  assert.match(await texture.page.getAttribute("body", "data-kernels"), /Tiled.*Texture/);
  await texture.page.setInputFiles("#file", boot.image);
  assert.deepEqual((await classes(texture.page)).map((c) => c[0]), boot.top.map((c) => c.label));
  assert.deepEqual(texture.complaints, []);

  // Every kernel variant of small layers, and whole AlexNets, which have 61 million weights, against reference vectors.
  const begin = performance.now();
  const doctor = await open(undefined, "?doctor", 1_500_000);
  const { layers, inputs, networks } = JSON.parse((await doctor.page.getAttribute("body", "data-doctor")) ?? "{}");
  assert.match(await status(doctor.page), /^All \d+ checks are right/);
  assert.ok(layers.length >= 50, `${layers.length} layers and variants`);
  assert.equal(inputs.length, 12);
  assert.deepEqual([...layers, ...inputs].filter(({ right }) => !right), []);
  const worst = Math.max(...layers.map(({ error }) => error));
  console.log(`${layers.length} layers and variants: errors up to ${worst.toExponential(1)}`);
  assert.deepEqual(networks.map(({ name }) => name.split(" ")[0]), ["ungrouped", "caffe", "torchvision"]);
  for (const { name, right, error, worstError, top5 } of networks) {
    console.log(`${name}: fc8 within ${error.toExponential(1)}, worst layer within ${worstError.toExponential(1)}`);
    assert.ok(right && top5 && error <= 1e-5 && worstError <= 1e-5, JSON.stringify(networks));
  }
  assert.deepEqual(doctor.complaints, []);
  console.log(`in ${((performance.now() - begin) / 1000).toFixed(0)} s`);
  await doctor.page.close();

  const without = await open(() => Object.defineProperty(Navigator.prototype, "gpu", { get: () => undefined }));
  assert.match(await status(without.page), /no WebGPU.*Chrome/);
  assert.ok(await without.page.isHidden("#drop"));
  assert.deepEqual(without.complaints, []);

  // What keeps the page from starting is said in it.
  const started = async (address, options, prepare) => {
    const page = await (await browser.newContext(options)).newPage();
    if (prepare) await prepare(page);
    await page.goto(address);
    return page;
  };
  const missing = (file) => (page) => page.route(`**/${file}`, (route) => route.fulfill({ status: 404 }));
  for (const [address, prepare, expected] of [
    [`file://${path.resolve(site)}/index.html`, undefined, /needs a web server/],
    [url, missing("page.js"), /did not load/],
    [url, missing("alexnet_web.js"), /did not load/],
    [url, missing("alexnet_web_bg.wasm"), /^alexnet_web_bg.wasm: the server answers 404/],
  ]) {
    const page = await started(address, {}, prepare);
    await page.waitForSelector("#status.trouble");
    assert.match(await status(page), expected);
  }
  const plain = await started(url, { javaScriptEnabled: false });
  assert.ok(await plain.isVisible("noscript p"));
  // No script runs but the page's own.
  const guarded = await started(url);
  const ran = await guarded.evaluate(() => {
    document.body.append(Object.assign(document.createElement("script"), { textContent: "window.injected = true" }));
    return window.injected ?? false;
  });
  assert.equal(ran, false);

  const headless = await open(() => (GPU.prototype.requestAdapter = async () => null));
  assert.match(await status(headless.page), /finds no graphics adapter/);
  console.log("the page: passed");
} finally {
  await browser.close();
  server.close();
}

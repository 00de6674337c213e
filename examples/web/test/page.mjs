// The page in headless Chromium: the same classes as the command's, and what happens when something is missing. The package has a
// test of its own, web/test/package.mjs.
//   CHROMIUM=PROGRAM node page.mjs FOLDER-OF-THE-PAGE FOLDER-WITH-expected.jsonl
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import zlib from "node:zlib";
import { distance, launch, readNpy, serve } from "./browser.mjs";

const [site, work] = process.argv.slice(2);
// A build that is not optimised (step `web` of .ci/run) is larger than what visitors download.
const MOST_BYTES = process.env.CARGO_PROFILE_WEB_OPT_LEVEL ? 8.6e6 : 8e6;

// What a visitor downloads, as a server without Brotli compresses it: all but texts for people.
const files = fs.readdirSync(site, { recursive: true }).filter((f) => /\.(css|html|js|png|safetensors|wasm)$/.test(f));
const sizes = files.map((f) => zlib.gzipSync(fs.readFileSync(path.join(site, f)), { level: 9 }).length);
const total = sizes.reduce((a, b) => a + b, 0);
console.log(files.map((f, i) => `${f} ${sizes[i]}`).join(", "), `: ${total} bytes compressed`);
assert.ok(total <= MOST_BYTES, `expected at most ${MOST_BYTES} bytes compressed, found ${total}`);

const server = await serve(site);
const { url } = server;
const browser = await launch();

async function open(prepare, query = "", timeout = 120_000) {
  const page = await browser.newPage({ viewport: { width: 420, height: 800 } });
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (m) => (m.type() === "error" ? complaints.push(m.text()) : console.log("console:", m.text())));
  if (prepare) await page.addInitScript(prepare);
  // What the page's policy forbids would be in the console too; this names it.
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective}: ${event.blockedURI}`));
  });
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
  const ready = () => page.waitForFunction(() => document.getElementById("status").textContent === "Ready.", undefined, { timeout: 120_000 });
  const expected = fs.readFileSync(path.join(work, "expected.jsonl"), "utf8").trim().split("\n").map((l) => JSON.parse(l));
  assert.ok(expected.length >= 10, `${expected.length} pictures`);
  // The package's test classifies all of them.
  const some = expected.filter(({ image }) => /dress|coffee/.test(image));
  assert.equal(some.length, 2);
  for (const { image, top } of some) {
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
  console.log(`${some.length} pictures: the same classes; probabilities differ by at most ${most.toExponential(1)}`);
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
    await ready();
    // Text is no picture, and what is shown stays.
    await give(page, kind, [], "https://example.org/boot.png");
    assert.match(await status(page), /^Expected a picture/);
    assert.equal((await classes(page))[0][0], boot.top[0].label);
  }
  // The parts on which it rests are those of the command.
  await page.click("#why");
  await page.waitForSelector("#heat", { timeout: 120_000 });
  const heat = await page.$eval("#heat", ({ values }) => values);
  const unlike = distance(heat, readNpy(path.join(work, "boot.npy")));
  assert.ok(unlike < 1e-4, `heat maps differ by ${unlike}`);
  const [over, under] = await Promise.all(["#heat", "#picture"].map((id) => page.locator(id).boundingBox()));
  for (const side of ["x", "y", "width", "height"]) assert.ok(Math.abs(over[side] - under[side]) < 1, "the map is not on the picture");
  await page.screenshot({ path: path.join(work, "why.png"), fullPage: true });
  await page.click("#why");
  assert.ok(await page.isHidden("#heat"));

  // The maps of a layer, drawn one beside the other.
  assert.ok(await page.isHidden("#maps"));
  await page.selectOption("#layer", "conv1");
  await page.waitForSelector("#maps", { timeout: 120_000 });
  assert.match(await page.textContent("#maps-hint"), /^64 maps of \d+×\d+; white is \d/);
  const levels = await page.$eval("#maps", (canvas) => {
    const { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    return { width, height, levels: new Set(data.filter((_, i) => i % 4 === 0)).size };
  });
  assert.ok(levels.levels > 50 && levels.width > 400 && levels.height > 400, JSON.stringify(levels));
  await page.screenshot({ path: path.join(work, "maps.png"), fullPage: true });
  await page.selectOption("#layer", "");
  assert.ok(await page.isHidden("#maps"));

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
  await ready();
  assert.equal((await classes(page))[0][0], bag.top[0].label);

  // The camera: Chromium's stand-in shows a moving pattern, of which only the form of the answer is known.
  await page.evaluate(() => document.getElementById("classes").replaceChildren());
  // Frames reach the device without a way through JavaScript: none of its canvases is read back.
  await page.evaluate(() => {
    for (const { prototype } of [CanvasRenderingContext2D, OffscreenCanvasRenderingContext2D]) {
      prototype.getImageData = () => {
        throw new Error("pixels were read back");
      };
    }
  });
  await page.click("#camera");
  const seen = await classes(page);
  assert.equal(seen.length, 5);
  assert.ok(seen.every(([, p], i) => p >= 0 && p <= 1 && (i === 0 || p <= seen[i - 1][1])), String(seen));
  await page.waitForFunction(() => /^[\d.]+ pictures a second on ./.test(document.getElementById("facts").textContent), undefined, { timeout: 120_000 });
  console.log("camera:", await page.textContent("#facts"));
  await page.screenshot({ path: path.join(work, "camera.png"), fullPage: true });
  await page.click("#camera");
  await ready();
  assert.ok((await page.isVisible("#picture")) && (await page.isHidden("#video")));

  // Several pictures and a folder: a list with the answer of each, in which one can be chosen.
  const garments = path.join(work, "garments");
  fs.rmSync(garments, { recursive: true, force: true });
  fs.mkdirSync(path.join(garments, "inner"), { recursive: true });
  for (const [from, to] of [["bag.png", "bag.png"], ["trouser.png", "inner/trouser.png"]]) {
    fs.copyFileSync(path.join(path.dirname(boot.image), from), path.join(garments, to));
  }
  fs.writeFileSync(path.join(garments, "broken.png"), "no picture");
  fs.writeFileSync(path.join(garments, "notes.txt"), "no picture");
  await page.setInputFiles("#folder", garments);
  await page.waitForFunction(() => document.querySelectorAll("#list li").length === 3, undefined, { timeout: 120_000 });
  await ready();
  assert.equal(await page.textContent("#pictures-title"), "3 pictures, 1 other file left out");
  const rows = await page.$$eval("#list li", (items) => items.map((item) => [...item.querySelectorAll("span")].map((s) => s.textContent)));
  assert.deepEqual(rows.map(([name]) => name), ["garments/bag.png", "garments/broken.png", "garments/inner/trouser.png"]);
  assert.match(rows[0][1], /^Bag \d+\.\d %$/);
  assert.match(rows[1][1], /expected .*JPEG/);
  assert.match(rows[2][1], /^Trouser \d+\.\d %$/);
  await page.screenshot({ path: path.join(work, "folder.png"), fullPage: true });
  await page.click("#list li:nth-child(3) button");
  assert.equal((await classes(page))[0][0], "Trouser");
  await ready();
  await give(page, "drop", [boot.image, path.join(path.dirname(boot.image), "bag.png")]);
  await page.waitForFunction(() => document.querySelectorAll("#list li").length === 2, undefined, { timeout: 120_000 });
  await ready();

  // Own weights, and the small model again; a file that is none leaves what is there.
  const [{ top: own }] = fs.readFileSync(path.join(work, "v2.caffemodel.jsonl"), "utf8").trim().split("\n").map((l) => JSON.parse(l));
  const formats = path.resolve("tests/data/formats");
  await page.setInputFiles("#weights", path.join(formats, "v2.caffemodel"));
  await page.waitForSelector("#about-own");
  await ready();
  assert.match(await page.textContent("#about-own"), /caffenet of v2.caffemodel, with 10 classes/);
  await page.setInputFiles("#file", path.join(path.dirname(boot.image), "bag.png"));
  const answer = await classes(page);
  assert.deepEqual(answer.map((c) => c[0]), own.map((c) => c.label));
  assert.ok(answer.every(([, p], i) => Math.abs(p - own[i].probability) < 1e-5), `${answer}`);
  await ready();
  await page.screenshot({ path: path.join(work, "own.png"), fullPage: true });
  await page.setInputFiles("#weights", path.join(formats, "refused-malice.pth"));
  await page.waitForSelector("#status.trouble");
  assert.match(await status(page), /^refused-malice.pth: /);
  await page.setInputFiles("#file", path.join(path.dirname(boot.image), "bag.png"));
  assert.equal((await classes(page))[0][0], own[0].label);
  await ready();
  await page.click("#default");
  await page.waitForSelector("#about-model");
  await ready();

  // What is no picture is told, and the next picture is classified all the same.
  await page.setInputFiles("#file", { name: "notes.png", mimeType: "image/png", buffer: Buffer.from("no picture") });
  await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("notes.png: "));
  assert.equal(await page.getAttribute("#status", "class"), "trouble");
  assert.ok(await page.isHidden("#picture"), "the message is over another picture");
  await page.setInputFiles("#file", boot.image);
  assert.equal((await classes(page))[0][0], boot.top[0].label);
  await ready();

  // Two pictures: LPIPS and its parts as PyTorch has them in float64 (tests/comparison.rs, which wrote the pairs).
  await page.click("[data-mode=compare]");
  const pairs = JSON.parse(fs.readFileSync(path.join(work, "pairs/pairs.json"), "utf8"));
  assert.equal(pairs.length, 5);
  let off = 0;
  for (const [index, { name, lpips, layers }] of [...pairs.entries()].slice(3)) {
    await page.setInputFiles("#first", path.join(work, `pairs/${index}-a.ppm`));
    await page.setInputFiles("#second", path.join(work, `pairs/${index}-b.ppm`));
    await page.waitForSelector("#numbers dd", { timeout: 120_000 });
    await ready();
    const found = await page.$eval("#numbers", ({ dataset }) => [dataset.lpips, ...dataset.layers.split(" ")].map(Number));
    for (const [i, value] of [lpips, ...layers].entries()) {
      off = Math.max(off, Math.abs(found[i] - value));
      assert.ok(Math.abs(found[i] - value) < 1e-5, `${name}: ${found}, expected ${lpips}, ${layers}`);
    }
  }
  console.log(`two pairs: LPIPS and its parts off by at most ${off.toExponential(1)}`);
  console.log(await page.textContent("#facts"));
  await page.waitForFunction(() => document.getElementById("map").naturalWidth > 0);
  // Pictures that the browser shows too.
  const shown = ["chelsea.png", "coffee.png"].map((name) => path.join(path.dirname(boot.image), name));
  await page.setInputFiles("#first", shown[1]);
  await page.setInputFiles("#second", shown[1]);
  await page.waitForFunction(() => document.getElementById("numbers").dataset.lpips === "0");
  await ready();
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
  assert.deepEqual(await page.evaluate(() => violations), []);
  // As wide as a desktop's window.
  await page.setInputFiles("#file", boot.image);
  await classes(page);
  await ready();
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.screenshot({ path: path.join(work, "wide.png"), fullPage: true });

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
    [url, missing("alexnet_web_bg.wasm"), /^alexnet_web_bg.wasm cannot be fetched: the server answers 404/],
    [url, missing("imagenet-trunk-f16.safetensors"), /^imagenet-trunk-f16.safetensors cannot be fetched: the server answers 404/],
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

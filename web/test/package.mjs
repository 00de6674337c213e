// The package in headless Chromium, as installed from its tarball: the command's answers, every kind of source, own weights, a
// worker, and what happens when something is missing or wrong.
//   CHROMIUM=PROGRAM node package.mjs FOLDER-WITH-node_modules FOLDER-WITH-expected.jsonl
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import zlib from "node:zlib";
import { distance, launch, readNpy, serve } from "./browser.mjs";

const [user, work] = process.argv.slice(2);
const installed = path.join(user, "node_modules/@alexnet-wgpu/web");
const size = (name) => fs.statSync(path.join(installed, name)).size;
const lines = (name) => fs.readFileSync(path.join(work, name), "utf8").trim().split("\n").map((l) => JSON.parse(l));

// What a user downloads. A build that is not optimised (step `web` of .ci/run) is larger.
const wasm = fs.readFileSync(path.join(installed, "alexnet_web_bg.wasm"));
const zipped = zlib.gzipSync(wasm, { level: 9 }).length;
const brotli = zlib.brotliCompressSync(wasm, { params: { [zlib.constants.BROTLI_PARAM_SIZE_HINT]: wasm.length } }).length;
console.log(`WebAssembly: ${wasm.length} bytes, ${zipped} by gzip -9, ${brotli} by Brotli`);
const most = process.env.CARGO_PROFILE_WEB_OPT_LEVEL ? 1.8e6 : 1.2e6;
assert.ok(zipped <= most, `expected at most ${most} bytes of WebAssembly compressed, found ${zipped}`);
const models = ["fashion-mnist-head.safetensors", "imagenet-trunk-f16.safetensors"];
console.log(models.map((name) => `${name}: ${size(name)} bytes`).join(", "));
for (const name of ["README.md", "LICENSE-MIT", "LICENSE-APACHE", "LICENSES-WEIGHTS.md", "THIRD-PARTY.txt", "index.d.ts"]) {
  assert.ok(size(name) > 0, name);
}
const { version, dependencies } = JSON.parse(fs.readFileSync(path.join(installed, "package.json"), "utf8"));
assert.match(fs.readFileSync("Cargo.toml", "utf8"), new RegExp(`^version = "${version.replaceAll(".", "\\.")}"$`, "m"));
assert.equal(dependencies, undefined);

fs.writeFileSync(path.join(user, "index.html"), "<!doctype html><title>A user's page</title>");
fs.writeFileSync(path.join(user, "refused.pth"), "<!doctype html>");
// A user without a bundler names the file; node_modules has no place in a browser otherwise.
const MODULE = "/node_modules/@alexnet-wgpu/web/index.js";
fs.writeFileSync(path.join(user, "worker.js"), fs.readFileSync(path.join(user, "worker.js"), "utf8").replace("@alexnet-wgpu/web", MODULE));
const pictures = path.resolve("examples/pictures");
for (const [from, to] of [[pictures, "pictures"], [path.join(work, "pairs"), "pairs"], [path.resolve("tests/data/formats"), "models"]]) {
  fs.cpSync(from, path.join(user, to), { recursive: true });
}

const server = await serve(user);
const elsewhere = await serve(user);
const browser = await launch();
const begin = performance.now();
const passed = (what) => console.log(`${((performance.now() - begin) / 1000).toFixed(1)} s: ${what}`);

/** A page that has the package, and a few helpers of its tests. */
async function open(prepare, url = server.url) {
  const page = await browser.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (m) => (["error", "warning"].includes(m.type()) ? complaints.push(m.text()) : console.log("console:", m.text())));
  if (prepare) await page.addInitScript(prepare);
  await page.goto(url);
  await page.evaluate(async (module) => {
    window.module = await import(module);
    window.load = module && window.module.load;
    window.blob = async (name) => (await fetch(name)).blob();
    /** The message of what is thrown. */
    window.refusal = async (call) => {
      try {
        await call();
      } catch (error) {
        return error instanceof Error || error instanceof DOMException ? `${error.name}: ${error.message}` : `not an Error: ${error}`;
      }
      return "nothing was thrown";
    };
    /** A picture of the tests of comparison. */
    window.readPpm = async (name) => {
      const bytes = new Uint8Array(await (await blob(name)).arrayBuffer());
      const [header, width, height] = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(new TextDecoder("latin1").decode(bytes.subarray(0, 64)));
      const data = new ImageData(Number(width), Number(height));
      for (let i = 0; i < width * height; i++) data.data.set([...bytes.subarray(header.length + 3 * i, header.length + 3 * i + 3), 255], 4 * i);
      return data;
    };
  }, MODULE);
  return { page, complaints };
}

/** Compares classes with those of the command. */
function sameClasses(found, top, tolerance, what) {
  assert.deepEqual(found.map((c) => [c.index, c.label]), top.map((c) => [c.index, c.label]), what);
  const off = Math.max(...found.map((c, i) => Math.abs(c.probability - top[i].probability)));
  assert.ok(off < tolerance, `${what}: probabilities off by ${off}`);
  return off;
}

try {
  const { page, complaints } = await open();

  // Loading: bytes are counted, and nothing is fetched twice, by comparisons and second networks neither.
  const told = await page.evaluate(async () => {
    const told = [];
    window.network = await load({ onProgress: (progress) => told.push(progress) });
    return told;
  });
  const total = size("alexnet_web_bg.wasm") + models.reduce((sum, name) => sum + size(name), 0);
  assert.deepEqual(told.at(-1), { loaded: total, total });
  assert.ok(told.length > 3 && told.every(({ loaded }, i) => i === 0 || loaded > told[i - 1].loaded));
  const facts = await page.evaluate(() => ({ ...network }));
  assert.equal(facts.labels.length, 10);
  assert.deepEqual(facts.layers.find(({ name }) => name === "pool5"), { name: "pool5", shape: [256, 6, 6] });
  assert.ok(facts.probabilities && facts.readsCanvases && facts.adapter && /Tiled/.test(facts.kernels), JSON.stringify(facts));
  passed(`loaded ${total} bytes in ${told.length} pieces`);

  // Files: the command's answers.
  const expected = lines("expected.jsonl");
  assert.ok(expected.length >= 10, `${expected.length} pictures`);
  let worst = 0;
  for (const { image, top } of expected) {
    const found = await page.evaluate(async (name) => network.classify(await blob(name)), `pictures/${path.basename(image)}`);
    worst = Math.max(worst, sameClasses(found.classes, top, 1e-5, image));
    assert.equal(found.unsure, top[0].probability < 0.5, image);
  }
  assert.ok(expected.some(({ top }) => top[0].probability < 0.5));
  passed(`${expected.length} files: the same classes; probabilities differ by at most ${worst.toExponential(1)}`);
  const counts = await page.evaluate(async () => {
    const file = await blob("pictures/bag.png");
    return Promise.all([3, 10, 99].map(async (top) => (await network.classify(file, { top })).classes.length));
  });
  assert.deepEqual(counts, [3, 10, 10]);

  // Layers and heat maps.
  for (const layer of ["pool5", "fc7"]) {
    const found = await page.evaluate(async (layer) => {
      const { shape, values } = await network.features(await blob("pictures/ankle-boot.png"), { layer });
      return { shape, values: [...values] };
    }, layer);
    assert.deepEqual(found.shape, facts.layers.find(({ name }) => name === layer).shape);
    const off = distance(found.values, readNpy(path.join(work, `boot-${layer}.npy`)));
    assert.ok(off < 1e-5, `${layer} is off by ${off}`);
  }
  const heat = await page.evaluate(async () => {
    const heat = await network.explain(await blob("pictures/ankle-boot.png"));
    return { ...heat, values: [...heat.values] };
  });
  assert.equal(facts.labels[heat.class], "Ankle boot");
  assert.equal(heat.values.length, heat.width * heat.height);
  const unlike = distance(heat.values, readNpy(path.join(work, "boot.npy")));
  assert.ok(unlike < 1e-4, `heat maps differ by ${unlike}`);
  passed("features and heat map");

  // Pictures that stay on the device, which resizes them: nearly the files' answers.
  let away = 0;
  for (const name of ["ankle-boot.png", "chelsea.png"]) {
    const { top } = expected.find(({ image }) => image.endsWith(name));
    const { classes } = await page.evaluate(async (name) => network.classify(await createImageBitmap(await blob(name))), `pictures/${name}`);
    assert.equal(classes[0].label, top[0].label);
    const known = (index) => top.find((c) => c.index === index)?.probability ?? 0;
    const off = Math.max(...classes.map((c) => Math.abs(c.probability - known(c.index))));
    away = Math.max(away, off);
    assert.ok(off < 1e-2, `${name} as a bitmap: off by ${off}`);
  }
  passed(`bitmaps: probabilities within ${away.toExponential(1)} of the files'`);

  // All of them are the same to a small network of own weights, which answers at once.
  const kinds = await page.evaluate(async () => {
    window.tiny = await load({ model: "models/torchvision.safetensors" });
    const file = await blob("pictures/chelsea.png");
    const bitmap = await createImageBitmap(file);
    const { width, height } = bitmap;
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    const offscreen = new OffscreenCanvas(width, height);
    offscreen.getContext("2d").drawImage(bitmap, 0, 0);
    const image = Object.assign(new Image(), { src: "pictures/chelsea.png" });
    const frame = new VideoFrame(bitmap, { timestamp: 0 });
    const data = canvas.getContext("2d").getImageData(0, 0, width, height);
    const kinds = {};
    for (const [kind, source] of Object.entries({ file, data, bitmap, canvas, offscreen, image, frame })) {
      kinds[kind] = [...(await tiny.features(source, { layer: "fc8" })).values];
    }
    frame.close();
    return kinds;
  });
  assert.deepEqual(kinds.data, kinds.file);
  for (const kind of ["canvas", "offscreen", "image", "frame"]) assert.deepEqual(kinds[kind], kinds.bitmap, kind);
  const apart = distance(kinds.bitmap, kinds.file);
  assert.ok(apart < 1e-2, `a bitmap and a file are ${apart} apart`);
  passed(`every kind of source; bitmaps are ${apart.toExponential(1)} from files`);

  // A video, at the frame that it shows; several at once, each with its own answer; transparent pixels over white.
  const moving = await page.evaluate(async () => {
    const bitmaps = await Promise.all(["bag.png", "trouser.png"].map(async (name) => createImageBitmap(await blob(`pictures/${name}`))));
    const canvas = Object.assign(document.createElement("canvas"), { width: 280, height: 280 });
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    const video = Object.assign(document.createElement("video"), { muted: true, srcObject: canvas.captureStream() });
    const index = async (source) => (await tiny.classify(source, { top: 1 })).classes[0].probability;
    const early = await refusal(() => index(video));
    const draw = () => context.drawImage(bitmaps[0], 0, 0, 280, 280);
    const drawing = setInterval(draw, 30);
    await video.play();
    const seen = [await index(video), await index(canvas)];
    clearInterval(drawing);
    video.srcObject.getTracks().forEach((track) => track.stop());
    const each = [await index(bitmaps[0]), await index(bitmaps[1])];
    const many = await Promise.all(Array.from({ length: 9 }, (_, i) => index(bitmaps[i % 2])));
    const clear = new OffscreenCanvas(31, 40);
    clear.getContext("2d");
    const white = new ImageData(31, 40);
    white.data.fill(255);
    const over = await network.compare(clear, white);
    return { early, seen, each, many, over: [over.lpips, over.maxDifference] };
  });
  assert.match(moving.early, /^Error: expected a picture, found a video that shows none yet/);
  assert.ok(Math.abs(moving.seen[0] - moving.seen[1]) < 1e-2, `${moving.seen}`);
  assert.notEqual(moving.each[0], moving.each[1]);
  assert.deepEqual(moving.many, Array.from({ length: 9 }, (_, i) => moving.each[i % 2]));
  assert.deepEqual(moving.over, [0, 0]);
  passed("video, several at once");

  // LPIPS and its parts as PyTorch has them in float64, of files, of bitmaps, and of one of each.
  const pairs = JSON.parse(fs.readFileSync(path.join(work, "pairs/pairs.json"), "utf8"));
  assert.equal(pairs.length, 5);
  let astray = 0;
  // The page's test has the others.
  for (const [index, { name, lpips, layers }] of [...pairs.entries()].slice(0, 3)) {
    const found = await page.evaluate(async (index) => {
      const names = ["a", "b"].map((letter) => `pairs/${index}-${letter}.ppm`);
      const files = await Promise.all(names.map(blob));
      const bitmaps = await Promise.all(names.map(async (name) => createImageBitmap(await readPpm(name))));
      const found = [];
      for (const pair of index === 0 ? [files, bitmaps, [files[0], bitmaps[1]]] : [files]) {
        const comparison = await network.compare(...pair);
        const { width, height } = await createImageBitmap(comparison.map.png);
        found.push({ ...comparison, map: { ...comparison.map, values: [...comparison.map.values] }, png: [width, height] });
      }
      return found;
    }, index);
    for (const each of found) {
      for (const [i, value] of [lpips, ...layers].entries()) {
        const off = Math.abs([each.lpips, ...each.layers][i] - value);
        astray = Math.max(astray, off);
        assert.ok(off < 1e-5, `${name}: ${each.lpips}, ${each.layers}, expected ${lpips}, ${layers}`);
      }
      const { width, height, values } = each.map;
      assert.ok(values.length === width * height && each.png[0] >= width && each.png[1] > height, name);
      const largest = values.reduce((most, v) => Math.max(most, v), 0);
      assert.ok(Math.abs(largest - each.largest) < 1e-6, `${name}: ${largest}, ${each.largest}`);
      assert.ok(distance(values, found[0].map.values) < 1e-5, name);
      assert.deepEqual([each.psnr, each.maxDifference, each.differing], [found[0].psnr, found[0].maxDifference, found[0].differing]);
    }
  }
  passed(`three pairs: LPIPS and its parts off by at most ${astray.toExponential(1)}`);

  // What cannot be read is told, and the next picture is read all the same.
  const refused = await page.evaluate(async (elsewhere) => {
    const closed = async (make) => {
      const source = await make();
      source.close();
      return source;
    };
    const bitmap = () => createImageBitmap(new ImageData(40, 40));
    const foreign = Object.assign(new Image(), { src: `${elsewhere}pictures/bag.png` });
    await foreign.decode();
    const tainted = new OffscreenCanvas(28, 28);
    tainted.getContext("2d").drawImage(foreign, 0, 0);
    const broken = Object.assign(new Image(), { src: "nothing.png" });
    const sized = (width, height) => {
      const canvas = new OffscreenCanvas(width, height);
      canvas.getContext("2d");
      return canvas;
    };
    const file = await blob("pictures/bag.png");
    const calls = {
      text: () => tiny.classify("pictures/bag.png"),
      nothing: () => tiny.classify(),
      garbage: () => tiny.classify(new Blob(["no picture"])),
      cut: () => tiny.classify(file.slice(0, 300)),
      empty: () => tiny.classify(new Blob([])),
      bitmap: async () => tiny.classify(await closed(bitmap)),
      frame: async () => tiny.classify(await closed(async () => new VideoFrame(await bitmap(), { timestamp: 0 }))),
      canvas: () => tiny.classify(sized(0, 10)),
      large: () => tiny.classify(sized(9000, 10)),
      foreign: () => tiny.classify(foreign),
      tainted: () => tiny.classify(tainted),
      broken: () => tiny.classify(broken),
      top: () => tiny.classify(file, { top: 0 }),
      layer: () => tiny.features(file, { layer: "fc9" }),
      class: () => tiny.explain(file, { class: 10 }),
      sizes: () => tiny.compare(sized(40, 40), sized(41, 40)),
      mixed: () => tiny.compare(file, sized(41, 40)),
      files: async () => tiny.compare(file, await blob("pictures/coffee.png")),
      small: () => tiny.compare(sized(30, 30), sized(30, 30)),
      made: () => new module.AlexNet(),
    };
    const messages = {};
    for (const [name, call] of Object.entries(calls)) messages[name] = await refusal(call);
    // A canvas that nothing was drawn on is white.
    const blank = await tiny.compare(new OffscreenCanvas(31, 31), sized(31, 31));
    const after = (await tiny.classify(await createImageBitmap(file))).classes.length;
    return { messages, blank: blank.lpips, after };
  }, elsewhere.url);
  for (const [name, message] of Object.entries({
    text: /^TypeError: expected an image, .* found String$/,
    nothing: /^TypeError: expected an image, .* found Undefined$/,
    garbage: /^Error: expected .*JPEG/,
    cut: /^Error: .*PNG/,
    empty: /^Error: expected .*/,
    bitmap: /^Error: expected a picture, found an empty ImageBitmap$/,
    frame: /^Error: expected a picture, found an empty VideoFrame$/,
    canvas: /^Error: expected a picture, found an empty OffscreenCanvas$/,
    large: /^Error: expected a picture of 1 to 8192 pixels a side, found 9000×10$/,
    foreign: /^Error: the HTMLImageElement shows something of another site/,
    tainted: /^Error: the OffscreenCanvas shows something of another site/,
    broken: /^Error: the HTMLImageElement cannot be loaded$/,
    top: /^RangeError: expected a number of classes from 1 on, found 0$/,
    layer: /^Error: expected a layer of conv1, .*, found fc9$/,
    class: /^RangeError: expected a class of 0 to 9, found 10$/,
    sizes: /^Error: expected pictures of the same size, found 40×40 and 41×40/,
    mixed: /^Error: expected pictures of the same size, found 28×28 and 41×40/,
    files: /^Error: expected pictures of the same size, found 28×28 and 600×400/,
    small: /^Error: expected pictures of at least 31×31 pixels, found 30×30/,
    made: /^TypeError: an AlexNet comes from load\(\)$/,
  })) {
    assert.match(refused.messages[name], message, name);
  }
  assert.deepEqual(Object.keys(refused.messages).filter((name) => /not an Error/.test(refused.messages[name])), []);
  assert.deepEqual([refused.blank, refused.after], [0, 5]);
  passed("what cannot be read");

  // Own weights in every format, as an address, bytes and a file.
  for (const [model, how] of [
    ["torchvision.pth", "address"],
    ["torchvision-legacy.pth", "bytes"],
    ["torchvision.safetensors", "file"],
    ["exported.onnx", "view"],
    ["v2.caffemodel", "file"],
  ]) {
    const [{ top }] = lines(`${model}.jsonl`);
    const found = await page.evaluate(
      async ([model, how]) => {
        const bytes = await (await fetch(`models/${model}`)).arrayBuffer();
        const ways = {
          address: new URL(`models/${model}`, location.href),
          bytes,
          file: new File([bytes], model),
          view: new Uint8Array(bytes),
        };
        const told = [];
        const own = await load({ model: ways[how], onProgress: (progress) => told.push(progress) });
        const { classes } = await own.classify(await blob("pictures/bag.png"));
        own.dispose();
        return { classes, last: told.at(-1), length: bytes.byteLength };
      },
      [model, how],
    );
    sameClasses(found.classes, top, 1e-5, model);
    if (["address", "file"].includes(how)) assert.deepEqual(found.last, { loaded: found.length, total: found.length });
  }
  // A network of grey pictures, whose two outputs are maps of one number and no probabilities: its canvases are read back.
  const grey = await page.evaluate(async () => {
    const layers = [
      { name: "conv", op: "conv", out_channels: 2, kernel: [3, 3], stride: [1, 1], groups: 1, relu: true },
      { name: "pool", op: "adaptive-avg-pool", output: [1, 1] },
    ];
    const network = JSON.stringify({ name: "grey", input: { channels: 1, height: 28, width: 28 }, layers });
    const header = new TextEncoder().encode(
      JSON.stringify({
        __metadata__: { network },
        "conv.weight": { dtype: "F32", shape: [2, 1, 3, 3], data_offsets: [0, 72] },
        "conv.bias": { dtype: "F32", shape: [2], data_offsets: [72, 80] },
      }),
    );
    const length = new BigUint64Array([BigInt(header.length)]);
    const numbers = Float32Array.from({ length: 20 }, (_, i) => i / 10);
    const own = await load({ model: new Blob([length, header, numbers]) });
    const file = await blob("pictures/bag.png");
    const bitmap = await createImageBitmap(file);
    const answers = [await own.classify(file), await own.classify(bitmap)];
    const { shape } = await own.features(bitmap, { layer: "conv" });
    own.dispose();
    return { ...own, answers, shape };
  });
  assert.deepEqual([grey.name, grey.probabilities, grey.readsCanvases], ["grey", false, false]);
  assert.deepEqual(grey.shape, [2, 26, 26]);
  assert.deepEqual(grey.answers[0], grey.answers[1]);
  assert.ok(grey.answers[0].classes.length === 2 && !grey.answers[0].unsure, JSON.stringify(grey.answers));
  // Bad ones.
  const bad = await page.evaluate(async () => {
    const messages = {};
    const cut = (await blob("models/torchvision.safetensors")).slice(0, 5000);
    const models = {
      "missing.pth": "missing.pth", nowhere: "http://127.0.0.1:9/x.pth", page: "refused.pth", empty: new ArrayBuffer(0), cut, number: 5,
      malice: "models/refused-malice.pth", bomb: "models/refused-bomb.safetensors", image: await blob("pictures/bag.png"),
    };
    for (const [name, model] of Object.entries(models)) messages[name] = await refusal(() => load({ model }));
    messages.deny = await refusal(() => load({ deny: "tiled" }));
    messages.unknown = await refusal(() => load({ deny: "nonsense" }));
    return messages;
  });
  for (const [name, message] of Object.entries({
    "missing.pth": /^Error: missing.pth cannot be fetched: the server answers 404$/,
    nowhere: /^Error: x.pth cannot be fetched: ./,
    page: /^Error: .*expected safetensors, PyTorch, ONNX or Caffe/,
    empty: /^Error: ./,
    cut: /^Error: ./,
    number: /^TypeError: expected a model as an address, bytes or a file, found Number$/,
    malice: /^Error: ./,
    bomb: /^Error: ./,
    image: /^Error: .*expected safetensors, PyTorch, ONNX or Caffe/,
    deny: /^Error: .*blocked \(tiled\)/,
    unknown: /^Error: .*nonsense/,
  })) {
    assert.match(bad[name], message, name);
  }
  passed("own weights, and bad ones");

  // Disposed of: calls under way are done, later ones are refused.
  const gone = await page.evaluate(async () => {
    const other = await load({ model: "models/torchvision.safetensors", deny: "buffer" });
    const { kernels } = other;
    const last = other.classify(await createImageBitmap(await blob("pictures/bag.png")));
    other.dispose();
    other.dispose();
    return { kernels, count: (await last).classes.length, later: await refusal(() => other.classify(new Blob([]))) };
  });
  assert.match(gone.kernels, /Texture/);
  assert.equal(gone.count, 5);
  assert.match(gone.later, /^Error: this network is disposed of/);
  const fetched = (name) => server.asked.filter((asked) => asked.endsWith(name)).length;
  for (const name of [...models, "alexnet_web_bg.wasm"]) assert.equal(fetched(name), 1, `${name} was fetched ${fetched(name)} times`);
  assert.deepEqual(complaints.filter((text) => !/404|ERR_CONNECTION_REFUSED|ERR_UNSAFE_PORT/.test(text)), []);
  await page.close();
  passed("disposed of; nothing was fetched twice");

  // Given up before and while files come; then loaded after all, whose comparison of own weights fetches what LPIPS needs.
  const { page: patient, complaints: murmurs } = await open();
  // One file that is missing ends all.
  await patient.route("**/*.wasm", (route) => route.fulfill({ status: 404 }));
  const failed = await patient.evaluate(async () => {
    let pieces = 0;
    const message = await refusal(() => load({ onProgress: () => pieces++ }));
    const before = pieces;
    await new Promise((later) => setTimeout(later, 1000));
    return { message, further: pieces - before };
  });
  assert.deepEqual(failed, { message: "Error: alexnet_web_bg.wasm cannot be fetched: the server answers 404", further: 0 });
  await patient.unroute("**/*.wasm");
  const aborted = await patient.evaluate(async () => {
    const messages = [await refusal(() => load({ signal: AbortSignal.abort() }))];
    for (const model of ["slow/models/v2.caffemodel", undefined]) {
      const controller = new AbortController();
      let pieces = 0;
      const onProgress = () => {
        if (++pieces === 2) controller.abort(new Error("changed my mind"));
      };
      messages.push(await refusal(() => load({ model, signal: controller.signal, onProgress })));
    }
    const own = await load({ model: "models/v2.caffemodel" });
    const data = new ImageData(31, 31);
    messages.push(String((await own.compare(data, data)).lpips));
    own.dispose();
    return messages;
  });
  assert.match(aborted[0], /^AbortError: /);
  assert.deepEqual(aborted.slice(1), ["Error: changed my mind", "Error: changed my mind", "0"]);
  assert.deepEqual(murmurs.filter((text) => !/404/.test(text)), []);
  await patient.close();
  passed("given up, and loaded after all");

  // In a worker: files, and bitmaps that are handed over.
  const { page: boss, complaints: grumbles } = await open();
  const served = await boss.evaluate(async () => {
    const worker = new Worker("worker.js", { type: "module" });
    const ask = (source, id, transfer = []) =>
      new Promise((resolve, reject) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = (event) => reject(new Error(event.message));
        worker.postMessage({ id, source }, transfer);
      });
    const file = await blob("pictures/coffee.png");
    const bitmap = await createImageBitmap(file);
    const answers = [];
    for (const [source, transfer] of [[file], [bitmap, [bitmap]], [new ImageData(31, 31)], [new Blob(["no picture"])]]) {
      answers.push(await ask(source, answers.length, transfer));
    }
    worker.terminate();
    return answers;
  });
  const { top } = expected.find(({ image }) => image.endsWith("coffee.png"));
  sameClasses(served[0].classes, top, 1e-5, "a file in a worker");
  assert.equal(served[1].classes[0].label, top[0].label);
  assert.equal(served[2].lpips, 0);
  assert.match(served[3].message, /JPEG/);
  assert.deepEqual(grumbles, []);
  await boss.close();
  passed("in a worker");

  // Browsers that cannot.
  for (const [prepare, address, message] of [
    [() => Object.defineProperty(Navigator.prototype, "gpu", { get: () => undefined }), server.url, /^Error: This browser has no WebGPU/],
    [() => (GPU.prototype.requestAdapter = async () => null), server.url, /^Error: .*finds no graphics adapter/],
    [undefined, `http://insecure.test:${server.port}/`, /^Error: Browsers offer WebGPU only to pages from https/],
  ]) {
    const { page: unable } = await open(prepare, address);
    assert.match(await unable.evaluate(() => refusal(() => load())), message);
    await unable.close();
  }
  passed("the package: passed");
} finally {
  await browser.close();
  server.close();
  elsewhere.close();
}

// AlexNet on a browser's WebGPU: pictures in, classes, features and comparisons out. index.d.ts says what each function takes.
import start, { Comparer, Device, Network, Picture, Tensors } from "./alexnet_web.js";
import { sizes } from "./sizes.js";

// As literals, so that bundlers see the files.
const FILES = {
  wasm: new URL("./alexnet_web_bg.wasm", import.meta.url),
  head: new URL("./fashion-mnist-head.safetensors", import.meta.url),
  trunk: new URL("./imagenet-trunk-f16.safetensors", import.meta.url),
};

// WebAssembly ends the program where there is no memory; this is far below what it has.
const LARGEST_MODEL = 2 ** 30;

/** What keeps this browser from running a network, or its adapter. */
async function findAdapter() {
  if (!globalThis.isSecureContext) {
    throw new Error("Browsers offer WebGPU only to pages from https:// or localhost: open this page from there.");
  }
  if (!navigator.gpu) {
    throw new Error(
      "This browser has no WebGPU, which this page computes with. Chrome and Edge have it since version 113, Safari " +
        "since 26 and Firefox since 141; on Linux it may need to be turned on in the browser's settings.",
    );
  }
  const adapter = await navigator.gpu.requestAdapter();
  if (!adapter) {
    throw new Error(
      "This browser has WebGPU but finds no graphics adapter for it: turn hardware acceleration on in its settings, " +
        "or update the graphics driver.",
    );
  }
  return adapter;
}

/** What the browser tells of the adapter; most browsers keep its exact name to themselves. */
function nameOf({ description, vendor, architecture }) {
  return description || [vendor, architecture].filter(Boolean).join(" ") || "an adapter without a name";
}

/** Counts the bytes of several files for `onProgress`. */
class Progress {
  #loaded = 0;
  #total = 0;
  #tell;

  constructor(tell) {
    this.#tell = tell;
  }

  /** A file of `bytes` is to come, `undefined` where nobody knows. */
  expect(bytes) {
    this.#total += bytes ?? NaN;
  }

  add(bytes) {
    this.#loaded += bytes;
    this.#tell?.({ loaded: this.#loaded, total: Number.isNaN(this.#total) ? undefined : this.#total });
  }

  stop() {
    this.#tell = undefined;
  }

  /** A stream whose bytes are counted. */
  count(stream) {
    const transform = (chunk, out) => {
      this.add(chunk.length);
      out.enqueue(chunk);
    };
    return stream.pipeThrough(new TransformStream({ transform }));
  }
}

/** A file's response; other statuses than 200 are errors. */
async function request(url, signal) {
  const name = new URL(url, globalThis.location?.href).pathname.split("/").pop() || String(url);
  let response;
  try {
    response = await fetch(url, { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw new Error(`${name} cannot be fetched: ${error.message}`, { cause: error });
  }
  if (!response.ok) throw new Error(`${name} cannot be fetched: the server answers ${response.status}`);
  return { name, response };
}

/** The length of a response, where it is known: a compressed one's is not that of what comes out. */
function lengthOf({ headers }) {
  const length = headers.has("content-encoding") ? null : headers.get("content-length");
  return length === null ? undefined : Number(length);
}

/** All bytes of a stream. */
async function collect(stream, name, signal) {
  const chunks = [];
  let length = 0;
  try {
    for (let reader = stream.getReader(), next; !(next = await reader.read()).done; ) {
      length += next.value.length;
      if (length > LARGEST_MODEL) {
        reader.cancel().catch(() => {});
        break;
      }
      chunks.push(next.value);
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw new Error(`${name} cannot be fetched: ${error.message}`, { cause: error });
  }
  if (length > LARGEST_MODEL) throw new Error(`expected a model of at most 1 GiB, found more in ${name}`);
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

let starting = null;

/** Fetches and starts the library, once. */
async function startLibrary(progress, signal) {
  if (starting) return starting;
  progress.expect(sizes.wasm);
  const { response } = await request(FILES.wasm, signal);
  const body = progress.count(response.body);
  let module;
  try {
    module = await WebAssembly.compileStreaming(new Response(body, { headers: { "content-type": "application/wasm" } }));
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
  if (!starting) {
    starting = start({ module_or_path: module });
    // The next load tries again.
    starting.catch(() => (starting = null));
  }
  return starting;
}

/** The tensors of the package's own files, each of which is fetched once. */
const tensors = { head: null, trunk: null };

/** Fetches the bytes of one of them, where they are not there yet. */
async function fetchTensors(which, progress, signal) {
  if (tensors[which]) return null;
  progress.expect(sizes[which]);
  const { name, response } = await request(FILES[which], signal);
  return collect(progress.count(response.body), name, signal);
}

function keepTensors(which, bytes) {
  if (bytes) tensors[which] ??= Tensors.read(bytes);
  return tensors[which];
}

/** The bytes of a model that the caller names. */
async function fetchModel(model, progress, signal) {
  if (typeof model === "string" || model instanceof URL) {
    const { name, response } = await request(model, signal);
    progress.expect(lengthOf(response));
    return collect(progress.count(response.body), name, signal);
  }
  if (["Blob", "File"].includes(kindOf(model))) {
    progress.expect(model.size);
    return collect(progress.count(model.stream()), model.name || "the model", signal);
  }
  const view = ArrayBuffer.isView(model) ? model : kindOf(model) === "ArrayBuffer" ? new Uint8Array(model) : null;
  if (!view) throw new TypeError(`expected a model as an address, bytes or a file, found ${kindOf(model)}`);
  if (view.byteLength > LARGEST_MODEL) throw new Error(`expected a model of at most 1 GiB, found ${view.byteLength} bytes`);
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** Fetches several files at once. When one fails, the others are given up and told of no more. */
async function together(onProgress, signal, fetchAll) {
  const progress = new Progress(onProgress);
  const controller = new AbortController();
  const giveUp = () => controller.abort(signal.reason);
  signal?.addEventListener("abort", giveUp);
  try {
    return await Promise.all(fetchAll(progress, controller.signal));
  } catch (error) {
    progress.stop();
    controller.abort(error);
    throw error;
  } finally {
    signal?.removeEventListener("abort", giveUp);
  }
}

export async function load({ model, onProgress, signal, deny = "" } = {}) {
  signal?.throwIfAborted();
  const adapter = nameOf((await findAdapter()).info);
  const own = model !== undefined;
  const [bytes, head, trunk] = await together(onProgress, signal, (progress, signal) => [
    own ? fetchModel(model, progress, signal) : null,
    own ? null : fetchTensors("head", progress, signal),
    own ? null : fetchTensors("trunk", progress, signal),
    startLibrary(progress, signal),
  ]);
  signal?.throwIfAborted();
  const device = await guarded(() => Device.open(deny));
  try {
    const network = await guarded(() =>
      own ? Network.read(device, bytes) : Network.ofHead(device, keepTensors("head", head), keepTensors("trunk", trunk)),
    );
    signal?.throwIfAborted();
    return new AlexNet(secret, device, network, adapter);
  } catch (error) {
    device.destroy();
    throw error;
  }
}

/** The result of a call into the library, which does not go on after a trap. */
async function guarded(call) {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof WebAssembly.RuntimeError)) throw error;
    throw new Error(`The library has failed, and needs the page to be loaded again: ${error.message}`, { cause: error });
  }
}

/** What kind of object something is, also one of another window. */
function kindOf(object) {
  return Object.prototype.toString.call(object).slice(8, -1);
}

/** What can be drawn on a canvas, and its size in pixels. */
const DRAWABLE = {
  HTMLCanvasElement: ({ width, height }) => [width, height],
  HTMLImageElement: ({ naturalWidth, naturalHeight }) => [naturalWidth, naturalHeight],
  HTMLVideoElement: ({ readyState, videoWidth, videoHeight }) => (readyState < 2 ? [0, 0] : [videoWidth, videoHeight]),
  ImageBitmap: ({ width, height }) => [width, height],
  OffscreenCanvas: ({ width, height }) => [width, height],
  VideoFrame: ({ displayWidth, displayHeight }) => [displayWidth, displayHeight],
};

/** The canvases that sources are drawn on: `device` on their way to the GPU, `memory` where their pixels are read. */
const sketches = {};

/**
 * Draws a source on such a canvas, over white as the library lays transparent pixels of files. It goes this way since browsers
 * refuse to copy some sources to a texture, video frames without a GPU among them, and since the copy must not fail: whatever
 * keeps it from it is an error here. All of this happens where the browser keeps the source and its canvases.
 */
function draw(source, place) {
  const kind = kindOf(source);
  const [width, height] = DRAWABLE[kind](source);
  if (!(width > 0 && height > 0)) {
    const found = kind === "HTMLVideoElement" ? "a video that shows none yet" : `an empty ${kind}`;
    throw new Error(`expected a picture, found ${found}`);
  }
  const options = { alpha: false, willReadFrequently: place === "memory" };
  const sketch = (sketches[place] ??= new OffscreenCanvas(width, height).getContext("2d", options));
  if (!sketch) throw new Error(`this browser has no canvas for a picture of ${width}×${height} pixels`);
  const { canvas } = sketch;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  try {
    sketch.fillStyle = "white";
    sketch.fillRect(0, 0, width, height);
    sketch.drawImage(source, 0, 0, width, height);
    // Fails for what the copy would fail for.
    new VideoFrame(canvas, { timestamp: 0 }).close();
  } catch (error) {
    // It may be tainted for good.
    delete sketches[place];
    if (error.name !== "SecurityError") throw new Error(`the ${kind} cannot be read: ${error.message}`, { cause: error });
    throw new Error(`the ${kind} shows something of another site, which does not let this page read it`, { cause: error });
  }
  return sketch;
}

/** The pixels of a source, as a picture. */
function pixelsOf(source) {
  const sketch = draw(source, "memory");
  return pictureOf(sketch.getImageData(0, 0, sketch.canvas.width, sketch.canvas.height));
}

function pictureOf({ width, height, data }) {
  if (kindOf(data) !== "Uint8ClampedArray") throw new Error(`expected ImageData of 8 bits, found ${kindOf(data)}`);
  return Picture.ofPixels(width, height, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}

/** A source as a picture in memory; `null` for one that is drawn on a canvas. */
async function decode(source) {
  const kind = kindOf(source);
  if (kind === "HTMLImageElement") {
    try {
      await source.decode();
    } catch (error) {
      throw new Error("the HTMLImageElement cannot be loaded", { cause: error });
    }
  }
  if (kind in DRAWABLE) return null;
  if (kind === "ImageData") return pictureOf(source);
  if (kind !== "Blob" && kind !== "File") {
    throw new TypeError(`expected an image, canvas, ImageBitmap, ImageData, video, VideoFrame, Blob or File, found ${kind}`);
  }
  if (source.size > Picture.maxBytes()) {
    throw new Error(`expected a picture file of at most ${Picture.maxBytes()} bytes, found ${source.size}`);
  }
  return Picture.decode(new Uint8Array(await source.arrayBuffer()));
}

const secret = Symbol();

export class AlexNet {
  #device;
  #network;
  #comparer = null;
  /** One comparison at a time: those of textures share them. */
  #comparing = Promise.resolve();
  /** Results of canvases that are under way. */
  #frames = new Set();
  #running = 0;
  #disposed = false;

  constructor(key, device, network, adapter) {
    if (key !== secret) throw new TypeError("an AlexNet comes from load()");
    this.#device = device;
    this.#network = network;
    const { network: name, layers, ...facts } = JSON.parse(network.facts());
    Object.assign(this, { name, adapter, layers, labels: facts.labels, probabilities: facts.probabilities });
    Object.assign(this, { kernels: facts.kernels, readsCanvases: facts.canvases });
    Object.freeze(this);
  }

  async classify(source, { top = 5 } = {}) {
    const { name, shape } = this.layers.at(-1);
    if (shape.slice(1).some((side) => side > 1)) {
      throw new Error(`expected a network that ends in classes, found one that ends in maps (${name})`);
    }
    if (!Number.isInteger(top) || top < 1) throw new RangeError(`expected a number of classes from 1 on, found ${top}`);
    const values = await this.#use(() => this.#layer(source, name));
    if (values.some(Number.isNaN)) throw new Error("the network's outputs are not numbers: its weights or the device are at fault");
    const order = Array.from(values, (_, index) => index).sort((a, b) => values[b] - values[a] || a - b);
    const classes = order.slice(0, top).map((index) => {
      return { index, label: this.labels[index] ?? `class ${index}`, probability: values[index] };
    });
    return { classes, unsure: this.probabilities && classes[0].probability < 0.5 };
  }

  async features(source, { layer } = {}) {
    const known = this.layers.find(({ name }) => name === layer);
    if (!known) throw new Error(`expected a layer of ${this.layers.map(({ name }) => name).join(", ")}, found ${layer}`);
    return { layer, shape: [...known.shape], values: await this.#use(() => this.#layer(source, layer)) };
  }

  async compare(a, b) {
    return this.#use(async () => {
      const comparer = await (this.#comparer ??= this.#makeComparer());
      const pictures = [await decode(a), await decode(b)];
      const turn = this.#comparing.then(() => this.#compare(comparer, [a, b], pictures));
      this.#comparing = turn.catch(() => {});
      const found = await turn;
      const { lpips, layers, largest, psnr, maxDifference, differing, width, height, values, png } = found;
      found.free();
      const map = { width, height, values, png: new Blob([png], { type: "image/png" }) };
      return { lpips, layers: [...layers], largest, psnr, maxDifference, differing, map };
    });
  }

  async explain(source, options = {}) {
    const index = options.class ?? (await this.classify(source, { top: 1 })).classes[0].index;
    const classes = this.layers.at(-1).shape[0];
    if (!Number.isInteger(index) || index < 0 || index >= classes) {
      throw new RangeError(`expected a class of 0 to ${classes - 1}, found ${index}`);
    }
    return this.#use(async () => {
      const heat = await this.#network.explain((await decode(source)) ?? pixelsOf(source), index);
      const { width, height, values } = heat;
      heat.free();
      return { class: index, width, height, values };
    });
  }

  async examine() {
    return JSON.parse(await this.#use(() => this.#network.examine()));
  }

  dispose() {
    this.#disposed = true;
    if (this.#running === 0) this.#free();
  }

  #free() {
    this.#network?.free();
    this.#comparer?.then((comparer) => comparer.free(), () => {});
    this.#device?.destroy();
    this.#device?.free();
    this.#network = this.#device = this.#comparer = null;
  }

  /** Runs something of this network's, which stays until that is done. */
  async #use(call) {
    if (this.#disposed) throw new Error("this network is disposed of: load it again");
    this.#running++;
    try {
      return await guarded(call);
    } finally {
      this.#running--;
      if (this.#disposed && this.#running === 0) this.#free();
    }
  }

  /** The activation of a layer. */
  async #layer(source, layer) {
    const picture = (await decode(source)) ?? (this.readsCanvases ? null : pixelsOf(source));
    if (picture) return this.#network.layer(picture, layer);
    while (this.#frames.size >= Network.maxFrames()) await Promise.race(this.#frames);
    const frame = this.#network.layerOfCanvas(draw(source, "device").canvas, layer);
    const done = frame.then(() => {}, () => {}).then(() => this.#frames.delete(done));
    this.#frames.add(done);
    return frame;
  }

  async #makeComparer() {
    try {
      return Comparer.create(this.#device, keepTensors("trunk", await fetchTensors("trunk", new Progress())));
    } catch (error) {
      // The next call tries again.
      this.#comparer = null;
      throw error;
    }
  }

  #compare(comparer, sources, pictures) {
    if (pictures[0] && pictures[1]) return comparer.compare(...pictures);
    const sizes = sources.map((source, place) => {
      const picture = pictures[place];
      return picture ? [picture.width, picture.height] : DRAWABLE[kindOf(source)](source);
    });
    const [[width, height], [columns, rows]] = sizes;
    if (width !== columns || height !== rows) {
      const found = `${width}×${height} and ${columns}×${rows}`;
      throw new Error(`expected pictures of the same size, found ${found}: resize or crop one of them`);
    }
    comparer.resize(width, height);
    for (const [place, source] of sources.entries()) {
      if (pictures[place]) comparer.putPicture(place, pictures[place]);
      else comparer.putCanvas(place, draw(source, "device").canvas);
    }
    return comparer.compareTextures();
  }
}

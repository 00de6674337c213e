// The page: pictures from files, the clipboard or the camera to the classifier and the comparer in alexnet_web.js, and
// their answers to the page.
import start, { Classifier, examine } from "./alexnet_web.js";

const element = (id) => document.getElementById(id);
const canvas = element("picture");
const video = element("video");

function say(text, trouble = false) {
  element("status").textContent = text;
  element("status").classList.toggle("trouble", trouble);
  if (trouble) element("progress").hidden = true;
}

/** What keeps this browser from running the network, or the adapter. */
async function findAdapter() {
  if (!window.isSecureContext) {
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

/** The bytes of one of the page's files, as a response that shows how much of it has come. */
async function load(file, what, type) {
  const response = await fetch(new URL(file, import.meta.url));
  if (!response.ok) throw new Error(`${file}: the server answers ${response.status}`);
  // A compressed file's length is not that of what comes out.
  const total = response.headers.has("content-encoding") ? 0 : Number(response.headers.get("content-length"));
  const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
  const bar = element("progress");
  bar.hidden = false;
  let come = 0;
  const count = new TransformStream({
    transform(chunk, out) {
      come += chunk.length;
      if (total) bar.value = come / total;
      say(`Loading ${what}: ${megabytes(come)} ${total ? `of ${megabytes(total)} ` : ""}MB`);
      out.enqueue(chunk);
    },
    flush() {
      bar.hidden = true;
      bar.removeAttribute("value");
    },
  });
  return new Response(response.body.pipeThrough(count), { headers: { "content-type": type } });
}

/** The picture file that is shown, and its most likely class. */
let answered = null;

function hideHeat() {
  for (const id of ["heat", "legend"]) element(id).hidden = true;
  element("why").setAttribute("aria-pressed", "false");
  element("why").textContent = "Show why";
}

/** Shows on which parts of the picture the answer rests, or hides it. */
async function toggleHeat() {
  if (element("why").getAttribute("aria-pressed") === "true") return hideHeat();
  const { file, top } = answered;
  element("why").setAttribute("aria-pressed", "true");
  element("why").textContent = "Hide why";
  say("Looking for the parts that matter…");
  try {
    const bytes = new Uint8Array(await file.arrayBuffer());
    const mine = turn.then(() => classifier.explain(bytes, top.index));
    turn = mine.catch(() => {});
    const heat = await mine;
    if (answered?.file === file && element("why").getAttribute("aria-pressed") === "true") {
      drawHeat(heat);
      element("explained").textContent = top.label;
      for (const id of ["heat", "legend"]) element(id).hidden = false;
    }
    heat.free();
    say("Ready.");
  } catch (error) {
    hideHeat();
    say(error.message, true);
  }
}

function drawHeat({ width, height, values }) {
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), Number.MIN_VALUE);
  const image = new ImageData(width, height);
  for (const [i, value] of values.entries()) {
    const t = Math.min(Math.abs(value) / largest, 1);
    image.data.set([255, 230 * t * t, 0, 230 * t], 4 * i);
  }
  const canvas = element("heat");
  Object.assign(canvas, { width, height, values: [...values] });
  canvas.getContext("2d").putImageData(image, 0, 0);
  canvas.setAttribute("aria-label", "Heat map");
}

function show(classes) {
  hideHeat();
  answered = null;
  element("why").hidden = true;
  element("doubt").hidden = !(classes[0]?.probability < 0.5);
  element("classes").replaceChildren(
    ...classes.map(({ label, probability }) => {
      const item = document.createElement("li");
      const name = Object.assign(document.createElement("span"), { className: "label", textContent: label });
      const bar = Object.assign(document.createElement("meter"), { min: 0, max: 1, value: probability });
      const percent = `${(100 * probability).toFixed(1)} %`;
      bar.setAttribute("aria-label", `${label}: ${percent}`);
      const number = Object.assign(document.createElement("span"), { className: "percent", textContent: percent });
      item.append(name, bar, number);
      return item;
    }),
  );
}

function draw(source, width, height, name, canvas = element("picture")) {
  const scale = Math.min(1, 640 / Math.max(width, height));
  canvas.hidden = false;
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(source, 0, 0, canvas.width, canvas.height);
  canvas.setAttribute("aria-label", name);
}

let classifier;
let adapterName;
// One picture at a time; of those that come meanwhile, each waits for the one before it.
let turn = Promise.resolve();
// The picture that is shown, by its number: only its answer may stand under it.
let shown = 0;

/** Shows what `classify` answers for picture `number`, and how long it took. */
function run(number, classify) {
  turn = turn.then(async () => {
    const begin = performance.now();
    const classes = JSON.parse(await classify());
    const took = performance.now() - begin;
    if (number === shown) {
      show(classes);
      element("facts").textContent = `${took.toFixed(0)} ms on ${adapterName}, decoding and scaling included.`;
    }
    return classes;
  });
  const result = turn;
  turn = turn.catch(() => {});
  return result;
}

/** The classes of a picture file; tests call it too. */
async function classifyFile(file) {
  stopCamera();
  const number = ++shown;
  show([]);
  canvas.hidden = true;
  element("facts").textContent = "";
  element("name").textContent = file.name;
  say("Classifying…");
  try {
    const bytes = new Uint8Array(await file.arrayBuffer());
    // The library reads formats that the browser may not: such a picture is classified and not shown.
    createImageBitmap(file).then((b) => number === shown && draw(b, b.width, b.height, file.name), () => {});
    const classes = await run(number, () => classifier.classifyFile(bytes));
    if (number === shown) {
      answered = { file, top: classes[0] };
      element("why").hidden = false;
      say("Ready.");
    }
    return classes;
  } catch (error) {
    if (number === shown) {
      canvas.hidden = true;
      element("name").textContent = "";
      say(`${file.name}: ${error.message}`, true);
    }
    return null;
  }
}

/** Classifies one of the pictures that come with the page. */
async function trySample(name) {
  try {
    const response = await fetch(new URL(name, import.meta.url));
    if (!response.ok) throw new Error(`the server answers ${response.status}`);
    await classifyFile(new File([await response.blob()], name));
  } catch (error) {
    say(`${name}: ${error.message}`, true);
  }
}

let comparer;
/** The two files of the comparison, as far as they are chosen. */
const pair = [null, null];
// Only the newest comparison's answer is shown.
let compared = 0;

/** Takes a file as the first or the second picture, and compares the two once both are there. */
async function takePicture(file, place) {
  pair[place] = file;
  const number = ++compared;
  element(["first-name", "second-name"][place]).textContent = file.name;
  const canvas = element(["above", "below"][place]);
  element("numbers").replaceChildren();
  element("map").hidden = true;
  element("facts").textContent = "";
  createImageBitmap(file).then(
    (b) => pair[place] === file && draw(b, b.width, b.height, file.name, canvas),
    () => pair[place] === file && draw(new OffscreenCanvas(1, 1), 1, 1, file.name, canvas),
  );
  for (const id of ["stage", "divider"]) element(id).hidden = false;
  if (!pair[0] || !pair[1]) return say("Choose the other picture.");
  say("Comparing…");
  try {
    const bytes = await Promise.all(pair.map(async (file) => new Uint8Array(await file.arrayBuffer())));
    const mine = turn.then(async () => {
      comparer ??= classifier.comparer();
      const begin = performance.now();
      return { found: await comparer.compare(...bytes), took: performance.now() - begin };
    });
    turn = mine.catch(() => {});
    const { found, took } = await mine;
    if (number === compared) showComparison(found, took);
    found.free();
  } catch (error) {
    if (number === compared) say(error.message, true);
  }
}

function showComparison(found, took) {
  const rows = [
    ["LPIPS", found.lpips.toFixed(4)],
    ["Largest distance", found.largest.toFixed(4)],
    ["PSNR", Number.isFinite(found.psnr) ? `${found.psnr.toFixed(1)} dB` : "∞"],
    ["Largest pixel difference", String(found.maxDifference)],
    ["Differing pixels", `${(100 * found.differing).toFixed(2)} %`],
  ];
  const cell = (name, text) => Object.assign(document.createElement(name), { textContent: text });
  element("numbers").replaceChildren(...rows.flatMap(([name, value]) => [cell("dt", name), cell("dd", value)]));
  element("numbers").dataset.lpips = found.lpips;
  element("numbers").dataset.layers = [...found.layers].join(" ");
  const map = element("map");
  URL.revokeObjectURL(map.src);
  map.src = URL.createObjectURL(new Blob([found.map], { type: "image/png" }));
  map.hidden = false;
  element("facts").textContent = `${took.toFixed(0)} ms on ${adapterName}, decoding included.`;
  say("Ready.");
}

/** Dropped or pasted files: the first two, or one in the place that is free. */
function takePictures(files) {
  if (files.length > 1) pair.forEach((_, place) => takePicture(files[place], place));
  else if (files.length === 1) takePicture(files[0], pair[0] && !pair[1] ? 1 : 0);
}

let mode = "classify";

/** Shows one of the page's two halves. */
function choose(next) {
  mode = next;
  if (stream) stopCamera();
  const comparing = mode === "compare";
  for (const id of ["drop", "answer", "about"]) element(id).hidden = comparing;
  for (const id of ["compare", "about-compare"]) element(id).hidden = !comparing;
  element("title").textContent = comparing ? "How alike are these?" : "What is this?";
  element("intro").textContent = comparing
    ? "AlexNet's features tell how different two pictures look, on your own GPU."
    : "AlexNet names garments, on your own GPU.";
  for (const button of element("modes").children) {
    button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
  }
  element("facts").textContent = "";
  say("Ready.");
}

let stream = null;

function stopCamera() {
  // Its last picture stays, with its answer.
  if (stream) canvas.hidden = false;
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  video.hidden = true;
  element("camera").setAttribute("aria-pressed", "false");
  element("camera").textContent = "Use the camera";
}

async function startCamera() {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    say(`The camera does not start: ${error.message}`, true);
    return;
  }
  video.srcObject = stream;
  video.hidden = false;
  canvas.hidden = true;
  canvas.width = canvas.height = 1;
  element("camera").setAttribute("aria-pressed", "true");
  element("camera").textContent = "Stop the camera";
  await video.play();
  say("The camera is on.");
  const mine = stream;
  const number = ++shown;
  show([]);
  element("name").textContent = "";
  try {
    while (stream === mine) {
      if (video.videoWidth > 0) {
        draw(video, video.videoWidth, video.videoHeight, "The camera's picture");
        canvas.hidden = stream !== null;
        const { width, height } = canvas;
        const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
        await run(number, () => classifier.classifyPixels(width, height, new Uint8Array(data.buffer)));
      }
      await new Promise(requestAnimationFrame);
    }
  } catch (error) {
    stopCamera();
    say(error.message, true);
  }
}

function listen() {
  element("file").addEventListener("change", ({ target }) => {
    if (target.files[0]) classifyFile(target.files[0]);
    target.value = "";
  });
  element("why").addEventListener("click", toggleHeat);
  element("camera").addEventListener("click", () => {
    if (!stream) return startCamera();
    stopCamera();
    say("Ready.");
  });
  element("camera").hidden = !navigator.mediaDevices?.getUserMedia;
  for (const [place, id] of ["first", "second"].entries()) {
    element(id).addEventListener("change", ({ target }) => {
      if (target.files[0]) takePicture(target.files[0], place);
      target.value = "";
    });
  }
  element("divider").addEventListener("input", ({ target }) => {
    element("stage").style.setProperty("--divider", `${target.value}%`);
  });
  for (const button of element("modes").children) {
    button.addEventListener("click", () => choose(button.dataset.mode));
  }
  for (const button of element("samples").children) {
    button.addEventListener("click", () => trySample(button.dataset.file));
  }
  const take = (data) => {
    const files = [...(data?.files ?? [])];
    if (!files.length) say("Expected a picture or its file, found neither: save the picture, then choose its file.", true);
    else if (mode === "compare") takePictures(files);
    else classifyFile(files[0]);
  };
  const over = (is) => document.body.classList.toggle("over", is);
  window.addEventListener("dragover", (event) => {
    // Without this, the browser leaves the page for what is dropped.
    event.preventDefault();
    over(true);
  });
  window.addEventListener("dragleave", ({ relatedTarget }) => relatedTarget || over(false));
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    take(event.dataTransfer);
  });
  window.addEventListener("paste", (event) => take(event.clipboardData));
}

/** With `?doctor` in the address: whether this browser computes what it should. Tests read the whole of it. */
async function examineBrowser(deny) {
  say("Comparing this browser's results with known ones, which takes a while…");
  const found = JSON.parse(await examine(deny));
  const checks = [...found.layers, ...found.inputs, ...found.networks];
  const wrong = checks.filter((check) => !check.right);
  const lines = (wrong.length ? wrong : found.networks).map(
    ({ name, error, failure }) => `${name}: ${failure ?? `error ${error.toExponential(1)}`}`,
  );
  const verdict = wrong.length ? `${wrong.length} of ${checks.length} checks are wrong` : `All ${checks.length} checks are right`;
  say([`${verdict}.`, ...lines].join("\n"), wrong.length > 0);
  document.body.dataset.doctor = JSON.stringify(found);
}

const query = new URLSearchParams(location.search);
try {
  const adapter = await findAdapter();
  adapterName = nameOf(adapter.info);
  const module = await load("alexnet_web_bg.wasm", "the model", "application/wasm");
  await start({ module_or_path: module });
  say("Preparing the network…");
  classifier = await Classifier.create(query.get("deny") ?? "");
  listen();
  element("modes").hidden = false;
  element("drop").hidden = false;
  element("facts").textContent = `Runs on ${adapterName}.`;
  say("Ready.");
  if (query.has("doctor")) await examineBrowser(query.get("deny") ?? "");
} catch (error) {
  say(error.message, true);
}
document.body.dataset.kernels = classifier?.kernels() ?? "";
document.body.dataset.ready = String(classifier !== undefined);

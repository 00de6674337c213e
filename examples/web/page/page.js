// The page: pictures from files, folders, the clipboard or the camera to the package in alexnet-web/, and its answers to the page.
import { load } from "./alexnet-web/index.js";

const element = (id) => document.getElementById(id);
const make = (name, properties) => Object.assign(document.createElement(name), properties);
const canvas = element("picture");
const video = element("video");
const query = new URLSearchParams(location.search);

function say(text, trouble = false) {
  element("status").textContent = text;
  element("status").classList.toggle("trouble", trouble);
  if (trouble) element("progress").hidden = true;
}

let network;

/** Loads a network in place of the one that is there, and says how much of it has come. */
async function loadNetwork(model) {
  const bar = element("progress");
  const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
  const onProgress = ({ loaded, total }) => {
    bar.hidden = false;
    if (total) bar.value = loaded / total;
    say(`Loading the model: ${megabytes(loaded)} ${total ? `of ${megabytes(total)} ` : ""}MB`);
    if (loaded === total) say("Preparing the network…");
  };
  try {
    const loaded = await load({ model, onProgress, deny: query.get("deny") ?? "" });
    network?.dispose();
    network = loaded;
  } finally {
    bar.hidden = true;
    bar.removeAttribute("value");
  }
  const maps = network.layers.filter(({ shape: [, height = 1, width = 1] }) => height * width > 1);
  const option = ({ name, shape: [channels, height, width] }) =>
    make("option", { value: name, textContent: `${name}: ${channels} of ${width}×${height}` });
  element("layer").replaceChildren(make("option", { value: "", textContent: "no layer" }), ...maps.map(option));
  const own = model !== undefined;
  for (const id of ["about-model", "ten"]) element(id).hidden = own;
  for (const id of ["about-own", "default"]) element(id).hidden = !own;
  element("own-name").textContent = own ? `${network.name} of ${model.name}, with ${network.labels.length} classes` : "";
  element("facts").textContent = `Runs on ${network.adapter}.`;
}

/** Uses a file of weights, or the small model. What was answered by the network before goes. */
async function useWeights(file) {
  stopCamera();
  clear();
  element("pictures").hidden = true;
  try {
    await loadNetwork(file);
    say("Ready.");
  } catch (error) {
    say(`${file ? `${file.name}: ` : ""}${error.message}`, true);
  }
}

/** The picture file that is shown, and its most likely class. */
let answered = null;
// The picture that is shown, by its number: only its answer may stand under it.
let shown = 0;

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
    const heat = await network.explain(file, { class: top.index });
    if (answered?.file !== file || element("why").getAttribute("aria-pressed") !== "true") return;
    drawHeat(heat);
    element("explained").textContent = top.label;
    for (const id of ["heat", "legend"]) element(id).hidden = false;
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

/** Shows the maps of the chosen layer for the picture that is shown. */
async function showMaps() {
  const layer = element("layer").value;
  const file = answered?.file;
  for (const id of ["maps", "maps-hint"]) element(id).hidden = true;
  if (!layer || !file) return;
  try {
    const found = await network.features(file, { layer });
    if (answered?.file !== file || element("layer").value !== layer) return;
    drawMaps(found);
    for (const id of ["maps", "maps-hint"]) element(id).hidden = false;
  } catch (error) {
    say(error.message, true);
  }
}

/**
 * All maps of a layer side by side, from the layer's least value in black to its largest in white. Brightness goes with the
 * square root, since most values are far below the largest.
 */
function drawMaps({ layer, shape: [channels, height, width], values }) {
  const columns = Math.ceil(Math.sqrt((channels * height) / width));
  const rows = Math.ceil(channels / columns);
  const image = new ImageData(columns * (width + 1) - 1, rows * (height + 1) - 1);
  const [least, most] = values.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [0, Number.MIN_VALUE]);
  for (const [i, value] of values.entries()) {
    const [channel, y, x] = [Math.floor(i / (width * height)), Math.floor(i / width) % height, i % width];
    const left = (channel % columns) * (width + 1) + x;
    const top = Math.floor(channel / columns) * (height + 1) + y;
    const level = 255 * Math.sqrt((value - least) / (most - least));
    image.data.set([level, level, level, 255], 4 * (top * image.width + left));
  }
  const canvas = element("maps");
  Object.assign(canvas, { width: image.width, height: image.height });
  canvas.getContext("2d").putImageData(image, 0, 0);
  canvas.setAttribute("aria-label", `The ${channels} feature maps of ${layer}`);
  element("maps-hint").textContent =
    `${channels} maps of ${width}×${height}; white is ${most.toPrecision(3)}, black is ${least.toPrecision(3)}.`;
}

function show({ classes, unsure }) {
  hideHeat();
  answered = null;
  for (const id of ["why", "inside", "maps", "maps-hint"]) element(id).hidden = true;
  element("doubt").hidden = !unsure;
  const most = Math.max(1, ...classes.map(({ probability }) => probability));
  element("classes").replaceChildren(
    ...classes.map(({ label, probability }) => {
      const number = share(probability);
      const bar = make("meter", { min: 0, max: most, value: probability });
      bar.setAttribute("aria-label", `${label}: ${number}`);
      const item = make("li");
      item.append(
        make("span", { className: "label", textContent: label, title: label }),
        bar,
        make("span", { className: "percent", textContent: number }),
      );
      return item;
    }),
  );
}

/** A probability in words; other outputs as they are. */
const share = (probability) => (network.probabilities ? `${(100 * probability).toFixed(1)} %` : probability.toFixed(2));

/** Shows nothing; answers that are under way belong to nothing. Returns the number of what comes. */
function clear() {
  show({ classes: [], unsure: false });
  canvas.hidden = true;
  element("facts").textContent = "";
  element("name").textContent = "";
  return ++shown;
}

function draw(source, width, height, name, canvas = element("picture")) {
  const scale = Math.min(1, 640 / Math.max(width, height));
  canvas.hidden = false;
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
  canvas.setAttribute("aria-label", name);
}

/** Shows a picture file and its classes. */
async function classifyFile(file) {
  stopCamera();
  const number = clear();
  element("name").textContent = file.name;
  say("Classifying…");
  try {
    // The library reads formats that the browser may not: such a picture is classified and not shown.
    createImageBitmap(file).then((b) => number === shown && draw(b, b.width, b.height, file.name), () => {});
    const begin = performance.now();
    const found = await network.classify(file);
    if (number !== shown) return;
    show(found);
    const took = (performance.now() - begin).toFixed(0);
    element("facts").textContent = `${took} ms on ${network.adapter}, decoding and scaling included.`;
    answered = { file, top: found.classes[0] };
    for (const id of ["why", "inside"]) element(id).hidden = false;
    say("Ready.");
    await showMaps();
  } catch (error) {
    if (number !== shown) return;
    canvas.hidden = true;
    element("name").textContent = "";
    say(`${file.name}: ${error.message}`, true);
  }
}

const isPicture = ({ name, type }) => type.startsWith("image/") || /\.(bmp|gif|jpe?g|p[bgnp]m|png|tiff?|webp)$/i.test(name);
const areWeights = ({ name }) => /\.(pth?|onnx|caffemodel|safetensors)$/i.test(name);
const pathOf = (file) => file.webkitRelativePath || file.name;

/** Shows a list of pictures, each with its most likely class. A picture of it that is chosen is shown in full. */
async function classifyList(files) {
  stopCamera();
  const number = clear();
  const pictures = files.filter(isPicture).sort((a, b) => (pathOf(a) < pathOf(b) ? -1 : 1));
  const others = files.length - pictures.length;
  element("pictures").hidden = false;
  element("list").replaceChildren();
  const left = others ? `, ${others} other ${others === 1 ? "file" : "files"} left out` : "";
  element("pictures-title").textContent = `${pictures.length} ${pictures.length === 1 ? "picture" : "pictures"}${left}`;
  const begin = performance.now();
  let done = 0;
  for (const file of pictures) {
    say(`Classified ${done} of ${pictures.length}…`);
    const row = make("button", { type: "button" });
    const thumbnail = make("canvas", { width: 1, height: 1 });
    createImageBitmap(file).then((b) => drawThumbnail(b, thumbnail), () => {});
    const answer = make("span", { className: "percent" });
    row.append(thumbnail, make("span", { className: "label", textContent: pathOf(file) }), answer);
    row.addEventListener("click", () => classifyFile(file));
    const item = make("li");
    item.append(row);
    try {
      const { classes, unsure } = await network.classify(file, { top: 1 });
      answer.textContent = `${classes[0].label}${unsure ? "?" : ""} ${share(classes[0].probability)}`;
    } catch (error) {
      answer.textContent = error.message;
      row.classList.add("trouble");
    }
    // Something else was chosen meanwhile.
    if (number !== shown) return;
    element("list").append(item);
    done++;
  }
  const seconds = (performance.now() - begin) / 1000;
  element("facts").textContent = `${done} in ${seconds.toFixed(1)} s on ${network.adapter}, decoding and scaling included.`;
  if (done) say("Ready.");
  else say("There is no picture in it.", true);
}

function drawThumbnail(bitmap, canvas) {
  const scale = 56 / Math.max(bitmap.width, bitmap.height);
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  Object.assign(canvas, { width, height });
  canvas.getContext("2d").drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
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
    const begin = performance.now();
    const found = await network.compare(...pair);
    if (number === compared) showComparison(found, performance.now() - begin);
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
  const cell = (name, textContent) => make(name, { textContent });
  element("numbers").replaceChildren(...rows.flatMap(([name, value]) => [cell("dt", name), cell("dd", value)]));
  element("numbers").dataset.lpips = found.lpips;
  element("numbers").dataset.layers = found.layers.join(" ");
  const map = element("map");
  URL.revokeObjectURL(map.src);
  map.src = URL.createObjectURL(found.map.png);
  map.hidden = false;
  element("facts").textContent = `${took.toFixed(0)} ms on ${network.adapter}, decoding included.`;
  say("Ready.");
}

let mode = "classify";

/** Shows one of the page's two halves. */
function choose(next) {
  mode = next;
  stopCamera();
  const comparing = mode === "compare";
  for (const id of ["drop", "answer", "about"]) element(id).hidden = comparing;
  for (const id of ["compare", "about-compare"]) element(id).hidden = !comparing;
  element("inside").hidden = comparing || !answered;
  element("pictures").hidden = comparing || !element("list").children.length;
  element("title").textContent = comparing ? "How alike are these?" : "What is this?";
  element("intro").textContent = comparing
    ? "AlexNet's features tell how different two pictures look, on your own GPU."
    : "AlexNet names what a picture shows, on your own GPU.";
  for (const button of element("modes").children) {
    button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
  }
  element("facts").textContent = "";
  say("Ready.");
}

let stream = null;

function stopCamera() {
  if (!stream) return;
  // Its last picture stays, with its answer.
  if (video.videoWidth) draw(video, video.videoWidth, video.videoHeight, "The camera's picture");
  stream.getTracks().forEach((track) => track.stop());
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
  const mine = stream;
  const number = clear();
  video.srcObject = stream;
  video.hidden = false;
  element("camera").setAttribute("aria-pressed", "true");
  element("camera").textContent = "Stop the camera";
  try {
    await video.play();
    say("The camera is on.");
    await watch(() => stream === mine && number === shown);
  } catch (error) {
    if (stream !== mine) return;
    stopCamera();
    say(error.message, true);
  }
}

/** Classifies each frame of the camera that the device keeps up with; frames go from the video to the device. */
async function watch(goesOn) {
  const next = () =>
    new Promise((then) => {
      if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(then);
      else requestAnimationFrame(then);
    });
  const underWay = new Set();
  let [answers, since] = [0, performance.now()];
  while (goesOn()) {
    await next();
    if (!goesOn() || !video.videoWidth) continue;
    const answer = network.classify(video).then((found) => {
      underWay.delete(answer);
      if (!goesOn()) return;
      show(found);
      answers++;
      const seconds = (performance.now() - since) / 1000;
      if (seconds < 1 && answers > 1) return;
      element("facts").textContent = `${(answers / seconds).toFixed(1)} pictures a second on ${network.adapter}.`;
      [answers, since] = [0, performance.now()];
    });
    underWay.add(answer);
    // One is computed while the next one is on its way.
    if (underWay.size > 1) await Promise.race(underWay);
  }
  await Promise.all(underWay);
}

/** All files of what was dropped, also those in folders. */
async function filesOf(transfer) {
  const entries = [...(transfer?.items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...(transfer?.files ?? [])];
  const files = [];
  const read = async (entry) => {
    if (entry.isFile) return files.push(await new Promise((done, failed) => entry.file(done, failed)));
    const reader = entry.createReader();
    // A reader gives a hundred at a time.
    for (let some; (some = await new Promise((done, failed) => reader.readEntries(done, failed))).length; ) {
      for (const inner of some) await read(inner);
    }
  };
  for (const entry of entries) await read(entry);
  return files;
}

/** Takes files that were dropped, pasted or chosen. */
function take(files) {
  if (!files.length) say("Expected a picture or its file, found neither: save the picture, then choose its file.", true);
  else if (mode === "compare") takePictures(files);
  else if (files.length > 1) classifyList(files);
  else if (areWeights(files[0])) useWeights(files[0]);
  else classifyFile(files[0]);
}

/** Of files to compare: the first two, or one in the place that is free. */
function takePictures(files) {
  if (files.length > 1) pair.forEach((_, place) => takePicture(files[place], place));
  else takePicture(files[0], pair[0] && !pair[1] ? 1 : 0);
}

function listen() {
  const onFiles = (id, use) =>
    element(id).addEventListener("change", ({ target }) => {
      const files = [...target.files];
      target.value = "";
      if (files.length) use(files);
    });
  onFiles("file", take);
  onFiles("folder", classifyList);
  onFiles("weights", ([file]) => useWeights(file));
  for (const [place, id] of ["first", "second"].entries()) onFiles(id, ([file]) => takePicture(file, place));
  element("default").addEventListener("click", () => useWeights());
  element("layer").addEventListener("change", showMaps);
  element("why").addEventListener("click", toggleHeat);
  element("camera").addEventListener("click", () => {
    if (!stream) return startCamera();
    stopCamera();
    say("Ready.");
  });
  element("camera").hidden = !navigator.mediaDevices?.getUserMedia;
  element("divider").addEventListener("input", ({ target }) => {
    element("stage").style.setProperty("--divider", `${target.value}%`);
  });
  for (const button of element("modes").children) {
    button.addEventListener("click", () => choose(button.dataset.mode));
  }
  for (const button of element("samples").children) {
    button.addEventListener("click", () => trySample(button.dataset.file));
  }
  const over = (is) => document.body.classList.toggle("over", is);
  window.addEventListener("dragover", (event) => {
    // Without this, the browser leaves the page for what is dropped.
    event.preventDefault();
    over(true);
  });
  window.addEventListener("dragleave", ({ relatedTarget }) => relatedTarget || over(false));
  window.addEventListener("drop", async (event) => {
    event.preventDefault();
    over(false);
    try {
      take(await filesOf(event.dataTransfer));
    } catch (error) {
      say(error.message, true);
    }
  });
  window.addEventListener("paste", (event) => take([...(event.clipboardData?.files ?? [])]));
}

/** With `?doctor` in the address: whether this browser computes what it should. Tests read the whole of it. */
async function examineBrowser() {
  say("Comparing this browser's results with known ones, which takes a while…");
  const found = await network.examine();
  const checks = [...found.layers, ...found.inputs, ...found.networks];
  const wrong = checks.filter((check) => !check.right);
  const lines = (wrong.length ? wrong : found.networks).map(
    ({ name, error, failure }) => `${name}: ${failure ?? `error ${error.toExponential(1)}`}`,
  );
  const verdict = wrong.length ? `${wrong.length} of ${checks.length} checks are wrong` : `All ${checks.length} checks are right`;
  say([`${verdict}.`, ...lines].join("\n"), wrong.length > 0);
  document.body.dataset.doctor = JSON.stringify(found);
}

try {
  await loadNetwork();
  listen();
  for (const id of ["modes", "drop", "about"]) element(id).hidden = false;
  say("Ready.");
  if (query.has("doctor")) await examineBrowser();
} catch (error) {
  say(error.message, true);
}
document.body.dataset.kernels = network?.kernels ?? "";
document.body.dataset.ready = String(network !== undefined);

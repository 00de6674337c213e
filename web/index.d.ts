/**
 * A picture, from any of these:
 *
 * - a `Blob` or `File` with a picture file (BMP, GIF, JPEG, PNG, PNM, TIFF or WebP), which the library decodes itself, as the
 *   command `alexnet` does: the results are the command's, to 1e-5. Transparent pixels are laid over white.
 * - `ImageData` (8 bits), whose pixels are taken as they are.
 * - an image or video element, a canvas, an `ImageBitmap` or a `VideoFrame`. Its pixels go to the GPU inside the browser, never
 *   through JavaScript or WebAssembly, and are resized there: each sample of the network's input is within 2/255 of what a file
 *   of the same pixels gives. A video is taken at the frame that it shows; a `VideoFrame` must stay open until the result is there.
 *
 * `explain`, and networks whose input is grey, read the pixels of the last kind back.
 */
export type Source =
  | Blob
  | ImageData
  | OfPages<"HTMLImageElement">
  | OfPages<"HTMLVideoElement">
  | OfPages<"HTMLCanvasElement">
  | OffscreenCanvas
  | ImageBitmap
  | VideoFrame;

/** What only pages have: nothing where a program is checked with TypeScript's library `webworker` and without `dom`. */
type OfPages<Name extends string> = typeof globalThis extends { [N in Name]: { prototype: infer Element } } ? Element : never;

/** The bytes that have come. */
export interface LoadProgress {
  /** Bytes so far, uncompressed, of all files together. */
  loaded: number;
  /** Bytes in all; `undefined` as long as the length of a file is not known. */
  total: number | undefined;
}

export interface LoadOptions {
  /**
   * The weights: the address of a file, its bytes, or the file itself; PyTorch, ONNX, Caffe or safetensors, of at most 1 GiB, in
   * which the network is recognised. Without it, the model of the package, which names ten kinds of garment.
   */
  model?: string | URL | ArrayBuffer | ArrayBufferView | Blob;
  /** Is called for each piece of a file that comes. */
  onProgress?: (progress: LoadProgress) => void;
  /** Gives up loading; the promise then rejects with its reason. */
  signal?: AbortSignal;
  /** Kernel variants to avoid, with commas between them, by the names that `alexnet doctor` and {@link AlexNet.examine} print. */
  deny?: string;
}

/**
 * Loads a network onto the browser's GPU, in a page or in a dedicated worker. The WebAssembly and the package's own model are
 * fetched once, however many networks are loaded.
 *
 * Rejects with an `Error` whose message is for people: no WebGPU or no adapter, a file that cannot be fetched (with the server's
 * status) or is no network, a network that does not fit the device.
 */
export function load(options?: LoadOptions): Promise<AlexNet>;

/** A layer of a network. */
export interface Layer {
  name: string;
  /** The shape of its values: channels, rows, columns; or their number alone after the fully connected layers. */
  shape: readonly number[];
}

export interface Class {
  /** Index of the class, from 0. */
  index: number;
  label: string;
  /** From 0 to 1; where {@link AlexNet.probabilities} is false, the network's output as it is. */
  probability: number;
}

export interface Classification {
  /** The most likely classes, most likely first. */
  classes: Class[];
  /** Whether no class reaches 50 %. */
  unsure: boolean;
}

export interface Features {
  layer: string;
  /** Channels, rows, columns; or the number of values alone. */
  shape: number[];
  /** The layer's values after its activation function, channel by channel and row by row. */
  values: Float32Array;
}

/** A number for each pixel. */
export interface NumberMap {
  /** Columns. */
  width: number;
  /** Rows. */
  height: number;
  /** Row by row from the top. */
  values: Float32Array;
}

export interface DistanceMap extends NumberMap {
  /** The map in colours with its scale below: a PNG file. */
  png: Blob;
}

/** The differences between two pictures. */
export interface Comparison {
  /** LPIPS 0.1 with AlexNet: 0 for pictures that look the same, about 0.7 for unrelated ones. */
  lpips: number;
  /** Its parts, after each of AlexNet's five convolutions. */
  layers: number[];
  /** The largest value of the map. */
  largest: number;
  /** Peak signal-to-noise ratio in decibels; `Infinity` for equal pictures. */
  psnr: number;
  /** The largest difference between two samples, 0 to 255. */
  maxDifference: number;
  /** The share of pixels that differ, 0 to 1. */
  differing: number;
  /** Where they differ, at the size of the pictures. */
  map: DistanceMap;
}

/** Which parts of a picture speak for a class, by Grad-CAM. */
export interface Explanation extends NumberMap {
  /** Index of the class. */
  class: number;
}

/** A check of {@link AlexNet.examine}. */
export interface Check {
  /** The layer or network, and its kernels. */
  name: string;
  right: boolean;
  /** The error relative to the norm; of a network, that of its last layer before the softmax. */
  error: number | null;
  /** Of a network's worst layer. */
  worstError: number | null;
  /** Of a network: whether the five most likely classes are the right ones. */
  top5: boolean | null;
  /** Why there is no result. */
  failure: string | null;
}

export interface Examination {
  /** Each kernel variant of each layer of the network, against the same in double precision. */
  layers: Check[];
  /** Pictures from textures and buffers, against the same from memory. */
  inputs: Check[];
  /** Whole AlexNets of 61 million weights, against reference vectors. */
  networks: Check[];
}

/**
 * A network on the browser's GPU, made by {@link load}. Its functions may be called at any time, also before earlier calls are
 * done. They reject with an `Error` for a source that cannot be read, after {@link AlexNet.dispose}, and when the GPU is lost,
 * after which the network must be loaded anew.
 */
export class AlexNet {
  private constructor();

  /** The network's name. */
  readonly name: string;
  /** The browser's description of the GPU. */
  readonly adapter: string;
  /** The layers, from the first to the last. */
  readonly layers: readonly Layer[];
  /** The label of each class. */
  readonly labels: readonly string[];
  /** Whether the network's outputs are probabilities. */
  readonly probabilities: boolean;
  /** The chosen kernels. */
  readonly kernels: string;
  /** Whether canvases, bitmaps and videos stay on the GPU: networks whose input is grey read them back. */
  readonly readsCanvases: boolean;

  /** Names what a picture shows: its `top` most likely classes, 5 by default. */
  classify(source: Source, options?: { top?: number }): Promise<Classification>;

  /** Computes a layer's values for a picture. `layer` is the name of one of {@link AlexNet.layers}. */
  features(source: Source, options: { layer: string }): Promise<Features>;

  /**
   * Compares two pictures of the same size, of at least 31×31 pixels, by LPIPS and pixel by pixel. The first call fetches
   * LPIPS's weights, unless the package's own model is loaded, which has them.
   */
  compare(a: Source, b: Source): Promise<Comparison>;

  /** Tells on which parts of a picture a class rests; by default its most likely class. */
  explain(source: Source, options?: { class?: number }): Promise<Explanation>;

  /** Compares what this browser and driver compute with known results, which takes a minute or more. */
  examine(): Promise<Examination>;

  /** Gives back the memory on the GPU, once the calls under way are done. Later calls reject. */
  dispose(): void;
}

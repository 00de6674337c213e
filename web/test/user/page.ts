// What a user's page does with the package, checked by the compiler; package.mjs runs the rest.
import { load, type AlexNet, type Classification, type Source } from "@alexnet-wgpu/web";

export async function label(source: Source, signal: AbortSignal): Promise<string> {
  const network: AlexNet = await load({
    onProgress: ({ loaded, total }) => console.log(total === undefined ? loaded : loaded / total),
    signal,
  });
  const { classes, unsure }: Classification = await network.classify(source, { top: 3 });
  const { shape, values } = await network.features(source, { layer: "fc7" });
  const { lpips, layers, map } = await network.compare(source, new ImageData(31, 31));
  const heat = await network.explain(source, { class: classes[0].index });
  const numbers: Float32Array = heat.values;
  network.dispose();
  console.log(unsure, shape.length, values.length, lpips + layers[0], map.png.size, numbers.length);
  return classes[0].label;
}

export const own = (file: File) => load({ model: file });
export const ofElements = (network: AlexNet, video: HTMLVideoElement, image: HTMLImageElement, canvas: HTMLCanvasElement) =>
  Promise.all([video, image, canvas].map((source) => network.classify(source)));

// What must not pass.
export async function wrong(network: AlexNet) {
  // @ts-expect-error: an address is no picture
  await network.classify("picture.png");
  // @ts-expect-error: a layer must be named
  await network.features(new Blob());
  // @ts-expect-error: only load() makes one
  new AlexNet();
  // @ts-expect-error: nothing in it can be set
  network.name = "other";
}

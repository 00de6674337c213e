// A dedicated worker that answers with what a picture shows.
import { load, type Source } from "@alexnet-wgpu/web";

declare const self: DedicatedWorkerGlobalScope;
const network = load();

self.onmessage = async ({ data }: MessageEvent<{ id: number; source: Source }>) => {
  try {
    if (data.source instanceof ImageData) {
      const { lpips } = await (await network).compare(data.source, data.source);
      self.postMessage({ id: data.id, lpips });
    } else {
      const { classes } = await (await network).classify(data.source);
      self.postMessage({ id: data.id, classes });
    }
  } catch (error) {
    self.postMessage({ id: data.id, message: (error as Error).message });
  }
};

// @ts-expect-error: there are no elements in a worker
export type None = HTMLImageElement;

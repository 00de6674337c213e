// The JavaScript of the documentation, which run.sh adds below, checked by the compiler.
import { load, type AlexNet, type Classification } from "@alexnet-wgpu/web";

declare const network: AlexNet;
declare const image: HTMLImageElement;
declare const canvas: HTMLCanvasElement;
declare const video: HTMLVideoElement;
declare const file: File;
declare const fileA: File;
declare const fileB: File;
declare function show(classification: Classification): void;


#!/usr/bin/env python3
"""Runs compute shaders through Dawn, Chrome's WebGPU, out of one of two Python packages.

    dawn.py PACKAGE            says which adapter there is, and whether it has subgroups, as JSON; exit 3 where there is none
    dawn.py PACKAGE FOLDER     runs what FOLDER/jobs.json lists; src/conformance/dawn.rs writes it

PACKAGE is wgpudawn, a recent Dawn, or dawn-python, one of 2025 that takes older drivers.

jobs.json: the shaders, each with the entries of its bind group layout in WebGPU's own words, and the jobs. A job has arrays,
each in a file (JOB-ARRAY) and a buffer or, with a format, in a texture of WIDTH texels a row; dispatches one after the other;
and the arrays to be written as they are afterwards, to JOB-ARRAY.out. What fails of a job stands in JOB.error.
"""

import ctypes
import json
import os
import pathlib
import sys

# Where none is named, a layer of Mesa's complains.
os.environ.setdefault("XDG_RUNTIME_DIR", "/")
WIDTH = 4096
TEXEL = {"rgba32float": 16, "rgba16float": 8, "rgba8snorm": 4}


def padded(data, form):
    """The bytes as whole rows of a texture, and how many."""
    row = WIDTH * TEXEL[form]
    rows = -(-len(data) // row)
    return data + b"\xff" * (rows * row - len(data)), rows


class WgpuDawn:
    """Through the package wgpudawn, whose interface is that of wgpu-py."""

    def __init__(self):
        import wgpudawn

        self.wgpu = wgpudawn
        adapters = [a for a in wgpudawn.gpu.enumerate_adapters_sync() if a.info["backend_type"] == "Vulkan"]
        if not adapters:
            raise LookupError("Dawn accepts none of this machine's Vulkan drivers")
        self.name = adapters[0].info["description"]
        self.subgroups = "subgroups" in adapters[0].features
        self.device = adapters[0].request_device_sync(required_features=["subgroups"] * self.subgroups)

    def buffer(self, data):
        usage = self.wgpu.BufferUsage
        usage = usage.STORAGE | usage.UNIFORM | usage.COPY_SRC | usage.COPY_DST
        return self.device.create_buffer_with_data(data=data, usage=usage)

    def texture(self, data, form):
        data, rows = padded(data, form)
        usage = self.wgpu.TextureUsage
        usage = usage.TEXTURE_BINDING | usage.STORAGE_BINDING | usage.COPY_SRC | usage.COPY_DST
        size = (WIDTH, rows, 1)
        texture = self.device.create_texture(size=size, format=form, usage=usage)
        layout = {"bytes_per_row": WIDTH * TEXEL[form], "rows_per_image": rows}
        self.device.queue.write_texture({"texture": texture}, data, layout, size)
        return texture

    def read_buffer(self, buffer):
        return bytes(self.device.queue.read_buffer(buffer))

    def read_texture(self, texture, form):
        layout = {"bytes_per_row": WIDTH * TEXEL[form], "rows_per_image": texture.height}
        return bytes(self.device.queue.read_texture({"texture": texture}, layout, texture.size))

    def pipeline(self, label, code, entries, constants):
        device = self.device
        entries = [{**entry, "visibility": self.wgpu.ShaderStage.COMPUTE} for entry in entries]
        layout = device.create_bind_group_layout(entries=entries)
        return layout, device.create_compute_pipeline(
            label=label,
            layout=device.create_pipeline_layout(bind_group_layouts=[layout]),
            compute={
                "module": device.create_shader_module(label=label, code=code),
                "entry_point": "main",
                "constants": constants,
            },
        )

    def dispatch(self, pipeline, resources, workgroups):
        layout, pipeline = pipeline
        entries = [
            {"binding": binding, "resource": array.create_view() if form else {"buffer": array}}
            for binding, (array, form) in resources.items()
        ]
        group = self.device.create_bind_group(layout=layout, entries=entries)
        encoder = self.device.create_command_encoder()
        compute = encoder.begin_compute_pass()
        compute.set_pipeline(pipeline)
        compute.set_bind_group(0, group)
        compute.dispatch_workgroups(*workgroups)
        compute.end()
        self.device.queue.submit([encoder.finish()])


class DawnPython:
    """Through the package dawn-python, whose interface is webgpu.h of 2025 by ctypes."""

    def __init__(self):
        from pydawn import utils, webgpu

        self.utils, self.w = utils, webgpu
        try:
            adapter = utils.request_adapter_sync(webgpu.WGPUPowerPreference_HighPerformance)
        except RuntimeError as error:
            raise LookupError(f"Dawn accepts none of this machine's drivers: {error}") from error
        info = webgpu.WGPUAdapterInfo()
        webgpu.wgpuAdapterGetInfo(adapter, ctypes.byref(info))
        self.name = utils.from_wgpu_str(info.description)
        feature = webgpu.WGPUFeatureName_Subgroups
        self.subgroups = "WGPUFeatureName_Subgroups" in utils.supported_features(adapter)
        self.device = utils.request_device_sync(adapter, [feature] * self.subgroups)
        self.queue = webgpu.wgpuDeviceGetQueue(self.device)

    def checked(self, make, *arguments):
        """What the call makes; its validation error is raised."""
        w = self.w
        w.wgpuDevicePushErrorScope(self.device, w.WGPUErrorFilter_Validation)
        made = make(*arguments)
        if error := self.utils.pop_error(self.device):
            raise RuntimeError(error)
        return made

    def buffer(self, data):
        w = self.w
        usage = w.WGPUBufferUsage_Storage | w.WGPUBufferUsage_Uniform
        usage |= w.WGPUBufferUsage_CopySrc | w.WGPUBufferUsage_CopyDst
        buffer = self.checked(self.utils.create_buffer, self.device, len(data), usage)
        self.utils.write_buffer(self.device, buffer, 0, data)
        return buffer

    def texture(self, data, form):
        w = self.w
        data, rows = padded(data, form)
        description = w.WGPUTextureDescriptor()
        description.usage = w.WGPUTextureUsage_TextureBinding | w.WGPUTextureUsage_StorageBinding
        description.usage |= w.WGPUTextureUsage_CopySrc | w.WGPUTextureUsage_CopyDst
        description.dimension = w.WGPUTextureDimension_2D
        description.size = w.WGPUExtent3D(WIDTH, rows, 1)
        description.format = self.format(form)
        description.mipLevelCount = description.sampleCount = 1
        texture = self.checked(w.wgpuDeviceCreateTexture, self.device, description)
        self.checked(
            w.wgpuQueueWriteTexture,
            self.queue,
            self.whole(texture),
            data,
            len(data),
            self.rows(form, rows),
            description.size,
        )
        return texture

    def format(self, form):
        w = self.w
        return {
            "rgba32float": w.WGPUTextureFormat_RGBA32Float,
            "rgba16float": w.WGPUTextureFormat_RGBA16Float,
            "rgba8snorm": w.WGPUTextureFormat_RGBA8Snorm,
        }[form]

    def whole(self, texture):
        whole = self.w.WGPUImageCopyTexture()
        whole.texture = texture
        whole.aspect = self.w.WGPUTextureAspect_All
        return whole

    def rows(self, form, rows):
        layout = self.w.WGPUTextureDataLayout()
        layout.bytesPerRow, layout.rowsPerImage = WIDTH * TEXEL[form], rows
        return layout

    def read_buffer(self, buffer):
        return bytes(self.utils.read_buffer(self.device, buffer))

    def read_texture(self, texture, form):
        w, utils = self.w, self.utils
        rows = w.wgpuTextureGetHeight(texture)
        target = w.WGPUImageCopyBuffer()
        target.layout = self.rows(form, rows)
        usage = w.WGPUBufferUsage_CopySrc | w.WGPUBufferUsage_CopyDst
        target.buffer = utils.create_buffer(self.device, WIDTH * TEXEL[form] * rows, usage)
        encoder = utils.create_command_encoder(self.device)
        w.wgpuCommandEncoderCopyTextureToBuffer(encoder, self.whole(texture), target, w.WGPUExtent3D(WIDTH, rows, 1))
        self.checked(lambda: utils.submit(self.device, [utils.command_encoder_finish(encoder)]))
        return self.read_buffer(target.buffer)

    def pipeline(self, label, code, entries, constants):
        w, utils = self.w, self.utils
        # What it calls `length` is that of a C string: the text must have no wider characters.
        module = utils.create_shader_module(self.device, code.encode("ascii", "replace").decode())
        layout_entries = (w.WGPUBindGroupLayoutEntry * len(entries))()
        for made, entry in zip(layout_entries, entries):
            made.binding, made.visibility = entry["binding"], w.WGPUShaderStage_Compute
            if buffer := entry.get("buffer"):
                made.buffer.type = {
                    "uniform": w.WGPUBufferBindingType_Uniform,
                    "storage": w.WGPUBufferBindingType_Storage,
                    "read-only-storage": w.WGPUBufferBindingType_ReadOnlyStorage,
                }[buffer["type"]]
            elif "texture" in entry:
                made.texture.sampleType = w.WGPUTextureSampleType_UnfilterableFloat
                made.texture.viewDimension = w.WGPUTextureViewDimension_2D
            else:
                stored = entry["storage_texture"]
                made.storageTexture.access = {
                    "read-only": w.WGPUStorageTextureAccess_ReadOnly,
                    "write-only": w.WGPUStorageTextureAccess_WriteOnly,
                }[stored["access"]]
                made.storageTexture.format = self.format(stored["format"])
                made.storageTexture.viewDimension = w.WGPUTextureViewDimension_2D
        description = w.WGPUBindGroupLayoutDescriptor()
        description.entryCount, description.entries = len(entries), layout_entries
        layout = self.checked(w.wgpuDeviceCreateBindGroupLayout, self.device, description)

        made_constants = (w.WGPUConstantEntry * len(constants))()
        for made, (key, value) in zip(made_constants, constants.items()):
            made.key, made.value = utils.to_wgpu_str(key), value
        description = w.WGPUComputePipelineDescriptor()
        description.layout = utils.create_pipeline_layout(self.device, [layout])
        description.compute.module = module
        description.compute.entryPoint = utils.to_wgpu_str("main")
        description.compute.constantCount, description.compute.constants = len(constants), made_constants
        return layout, self.checked(w.wgpuDeviceCreateComputePipeline, self.device, description)

    def dispatch(self, pipeline, resources, workgroups):
        w, utils = self.w, self.utils
        layout, pipeline = pipeline
        entries = (w.WGPUBindGroupEntry * len(resources))()
        for entry, (binding, (array, form)) in zip(entries, resources.items()):
            entry.binding = binding
            if form:
                entry.textureView = w.wgpuTextureCreateView(array, None)
            else:
                entry.buffer, entry.size = array, w.wgpuBufferGetSize(array)
        description = w.WGPUBindGroupDescriptor()
        description.layout, description.entryCount, description.entries = layout, len(entries), entries
        group = self.checked(w.wgpuDeviceCreateBindGroup, self.device, description)
        encoder = utils.create_command_encoder(self.device)
        compute = utils.begin_compute_pass(encoder)
        utils.set_pipeline(compute, pipeline)
        utils.set_bind_group(compute, group)
        utils.dispatch_workgroups(compute, *workgroups)
        utils.end_compute_pass(compute)
        self.checked(lambda: utils.submit(self.device, [utils.command_encoder_finish(encoder)]))


def run(dawn, folder, shaders, pipelines, number, job):
    """One job, with what it must have compiled."""
    arrays, forms = {}, [array["format"] for array in job["arrays"]]

    def array(index):
        if index not in arrays:
            data = (folder / f"{number}-{index}").read_bytes()
            arrays[index] = dawn.texture(data, forms[index]) if forms[index] else dawn.buffer(data)
        return arrays[index], forms[index]

    for dispatch in job["dispatches"]:
        index = dispatch["shader"]
        shader = shaders[index]
        try:
            if index not in pipelines:
                pipelines[index] = dawn.pipeline(
                    shader["label"], shader["wgsl"], shader["entries"], dict(shader["constants"])
                )
            resources = {binding: array(index) for binding, index in dispatch["bindings"]}
            dawn.dispatch(pipelines[index], resources, dispatch["workgroups"])
        except Exception as error:
            raise RuntimeError(f"{shader['label']}: {error}") from error
    for index in job["results"]:
        made, form = array(index)
        data = dawn.read_texture(made, form) if form else dawn.read_buffer(made)
        (folder / f"{number}-{index}.out").write_bytes(data[: job["arrays"][index]["size"]])


def main():
    package, *folders = sys.argv[1:]
    try:
        dawn = {"wgpudawn": WgpuDawn, "dawn-python": DawnPython}[package]()
    except (ImportError, LookupError) as error:
        print(f"dawn.py: {package}: {error!r}", file=sys.stderr)
        sys.exit(3)
    if not folders:
        print(json.dumps({"adapter": dawn.name, "subgroups": dawn.subgroups}))
    for folder in map(pathlib.Path, folders):
        listed = json.loads((folder / "jobs.json").read_text())
        pipelines = {}
        for number, job in enumerate(listed["jobs"]):
            try:
                run(dawn, folder, listed["shaders"], pipelines, number, job)
            except Exception as error:
                (folder / f"{number}.error").write_text(str(error))


if __name__ == "__main__":
    main()

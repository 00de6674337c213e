#!/usr/bin/env python3
"""Compiles HLSL to DXIL with Microsoft's compiler (DXC), and has its validator check the result; or to SPIR-V.

    dxc.py [--spirv] LIBDXCOMPILER FILE.hlsl...     exit 1 when a file fails; SPIR-V goes to FILE.spv

The library speaks COM, here through ctypes: interfaces and numbers are those of dxcapi.h.
"""

import ctypes
import pathlib
import sys
import uuid
from ctypes import POINTER, byref, c_char_p, c_int32, c_size_t, c_uint32, c_void_p, c_wchar_p

CLSID_COMPILER = "73e22d93-e6ce-47f3-b5bf-f0664f39c1b0"
IID_COMPILER3 = "228b4687-5a6a-4730-900c-9702b2203f54"
IID_RESULT = "58346cda-dde7-4497-9461-6f87af5e0659"
CLSID_VALIDATOR = "8ca3e215-f728-4cf3-8cdd-88af917587a1"
IID_VALIDATOR = "a6e82bd2-1fd7-4826-9811-2857e797f49a"
UTF8 = 65001
# What wgpu 30 passes, with strict syntax besides.
ARGUMENTS = ["-E", "main", "-T", "cs_6_0", "-HV", "2018", "-Ges"]


class Source(ctypes.Structure):
    """DxcBuffer"""

    _fields_ = [("pointer", c_char_p), ("size", c_size_t), ("encoding", c_uint32)]


class Failed(Exception):
    pass


def guid(text):
    return ctypes.create_string_buffer(uuid.UUID(text).bytes_le, 16)


def method(this, index, *types):
    """The method at `index` of the interface `this`, which returns an HRESULT."""
    table = ctypes.cast(this, POINTER(POINTER(c_void_p)))[0]
    function = ctypes.CFUNCTYPE(c_int32, c_void_p, *types)(table[index])

    def call(*arguments):
        if (status := function(this, *arguments)) < 0:
            raise Failed(f"HRESULT {status & 0xFFFFFFFF:#x}")

    return call


def contents(blob):
    """IDxcBlob's bytes: slots 3 and 4."""
    table = ctypes.cast(blob, POINTER(POINTER(c_void_p)))[0]
    pointer = ctypes.CFUNCTYPE(c_void_p, c_void_p)(table[3])(blob)
    size = ctypes.CFUNCTYPE(c_size_t, c_void_p)(table[4])(blob)
    return ctypes.string_at(pointer, size)


def result(operation):
    """What an IDxcOperationResult holds: GetStatus, GetResult and GetErrorBuffer are slots 3 to 5."""
    status = c_int32()
    method(operation, 3, POINTER(c_int32))(byref(status))
    if status.value < 0:
        errors = c_void_p()
        method(operation, 5, POINTER(c_void_p))(byref(errors))
        raise Failed(contents(errors).decode(errors="replace").rstrip("\0\n"))
    blob = c_void_p()
    method(operation, 4, POINTER(c_void_p))(byref(blob))
    return blob


def main():
    spirv = sys.argv[1] == "--spirv"
    library_path, *files = sys.argv[1 + spirv :]
    library = ctypes.CDLL(library_path)

    def create(class_id, interface):
        made = c_void_p()
        status = library.DxcCreateInstance(guid(class_id), guid(interface), byref(made))
        if status < 0:
            sys.exit(f"{library_path}: no {class_id}: HRESULT {status & 0xFFFFFFFF:#x}")
        return made

    compiler, validator = create(CLSID_COMPILER, IID_COMPILER3), create(CLSID_VALIDATOR, IID_VALIDATOR)
    compile_ = method(compiler, 3, POINTER(Source), POINTER(c_wchar_p), c_uint32, c_void_p, c_void_p, POINTER(c_void_p))
    validate = method(validator, 3, c_void_p, c_uint32, POINTER(c_void_p))
    words = ARGUMENTS + (["-spirv", "-fspv-target-env=vulkan1.1"] if spirv else [])
    arguments = (c_wchar_p * len(words))(*words)
    failed = 0
    for path in files:
        text = open(path, "rb").read()
        compiled, validated = c_void_p(), c_void_p()
        try:
            source = Source(text, len(text), UTF8)
            compile_(byref(source), arguments, len(words), None, guid(IID_RESULT), byref(compiled))
            dxil = result(compiled)
            if spirv:
                pathlib.Path(path).with_suffix(".spv").write_bytes(contents(dxil))
                continue
            if not contents(dxil).startswith(b"DXBC"):
                raise Failed("the result is no DXIL container")
            validate(dxil, 0, byref(validated))
            result(validated)
        except Failed as error:
            print(f"{path}: {error}")
            failed += 1
    print(f"DXC: {len(files) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()

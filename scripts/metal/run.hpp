// Included before the text of one of naga's kernels, which `call` and the constants follow. run.cpp has `main`, and is compiled
// once for all kernels.
#pragma once
#include "metal_stdlib"

using metal::uint;
using metal::uint3;

// What is bound: a file's bytes, up against a page that cannot be touched.
struct Binding {
    char* bytes;
    std::size_t size;

    template <class T>
    operator T&() const {
        return *reinterpret_cast<T*>(bytes);
    }
    template <metal::access A>
    operator metal::texture2d<float, A>() const {
        return {reinterpret_cast<metal::float4*>(bytes), size / sizeof(metal::float4)};
    }
};

struct Threadgroup {
    alignas(16) char bytes[32768];
    template <class T>
    operator T&() {
        static_assert(sizeof(T) <= sizeof bytes);
        return *reinterpret_cast<T*>(bytes);
    }
};

// The kernel's: how it is called, in the words of its attributes, and the threads of a simdgroup where it has matrices.
void call();
extern const uint3 threads_per_threadgroup;
extern const uint threads_per_simdgroup;

// The attributes' values.
extern Threadgroup shared[4];
extern uint3 threadgroup_position_in_grid, thread_position_in_threadgroup, thread_position_in_grid;
extern uint thread_index_in_threadgroup, thread_index_in_simdgroup;
extern uint simdgroup_index_in_threadgroup, simdgroups_per_threadgroup;
const Binding& buffer(int n);
const Binding& texture(int n);

// Runs one of naga's kernels on a processor:
//
//   KERNEL FOLDER X Y Z     X × Y × Z threadgroups; binding n is the file FOLDER/n, and what is bound to 1 is written back
//
// A thread is a coroutine, and all of a threadgroup go on together from barrier to barrier. What would be an undefined
// result on a GPU ends the program: a number outside its binding, a barrier that only some threads reach. Threadgroup
// memory is NaN to begin with.
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

// Last, since it gives Metal's words another meaning.
#include "run.hpp"

struct Thread {
    ucontext_t context;
    bool done;
    char stack[128 << 10];
};

Threadgroup shared[4];
uint3 threadgroup_position_in_grid, thread_position_in_threadgroup, thread_position_in_grid;
uint thread_index_in_threadgroup, thread_index_in_simdgroup;
uint simdgroup_index_in_threadgroup, simdgroups_per_threadgroup;

static std::map<int, Binding> bindings;
static ucontext_t scheduler;
static std::vector<Thread> threads;
static uint turn;

const Binding& buffer(int n) { return bindings.at(n); }
const Binding& texture(int n) { return bindings.at(n); }

unsigned thread_index() { return turn; }

bool is_first_of_simdgroup() { return turn % threads_per_simdgroup == 0; }

void wait_for_all() { swapcontext(&threads[turn].context, &scheduler); }

static Binding read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    const std::string content{std::istreambuf_iterator<char>(file), {}};
    const std::size_t page = sysconf(_SC_PAGESIZE), room = (content.size() + page - 1) / page * page;
    void* memory = mmap(nullptr, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(static_cast<char*>(memory) + room, page, PROT_NONE) != 0) fail("mmap");
    char* bytes = static_cast<char*>(memory) + room - content.size();
    content.copy(bytes, content.size());
    return {bytes, content.size()};
}

static void run_thread() {
    call();
    threads[turn].done = true;
}

static void run_threadgroup() {
    for (Threadgroup& memory : shared) std::memset(memory.bytes, 0xff, sizeof memory.bytes);
    for (Thread& one : threads) {
        one.done = false;
        getcontext(&one.context);
        one.context.uc_stack.ss_sp = one.stack;
        one.context.uc_stack.ss_size = sizeof one.stack;
        one.context.uc_link = &scheduler;
        makecontext(&one.context, run_thread, 0);
    }
    for (std::size_t done = 0; done < threads.size();) {
        for (turn = 0; turn < threads.size(); turn++) {
            // Read when a thread begins.
            const uint width = threads_per_threadgroup.x, height = threads_per_threadgroup.y;
            thread_index_in_threadgroup = thread_index_in_simdgroup = turn;
            simdgroup_index_in_threadgroup = turn / threads_per_simdgroup;
            simdgroups_per_threadgroup = (threads.size() + threads_per_simdgroup - 1) / threads_per_simdgroup;
            thread_position_in_threadgroup = {turn % width, turn / width % height, turn / width / height};
            thread_position_in_grid =
                threadgroup_position_in_grid * threads_per_threadgroup + thread_position_in_threadgroup;
            swapcontext(&scheduler, &threads[turn].context);
            done += threads[turn].done;
        }
        if (done % threads.size() != 0) fail("a barrier that only some threads reach");
    }
}

int main(int, char** arguments) {
    const uint3 size = threads_per_threadgroup;
    threads.resize(size.x * size.y * size.z);
    const std::string folder = arguments[1];
    for (int n = 0; n < 31; n++) {
        const std::string path = folder + "/" + std::to_string(n);
        if (std::ifstream(path)) bindings.emplace(n, read(path));
    }
    const uint grid[] = {uint(std::stoul(arguments[2])), uint(std::stoul(arguments[3])), uint(std::stoul(arguments[4]))};
    uint3& at = threadgroup_position_in_grid;
    for (at.z = 0; at.z < grid[2]; at.z++) {
        for (at.y = 0; at.y < grid[1]; at.y++) {
            for (at.x = 0; at.x < grid[0]; at.x++) run_threadgroup();
        }
    }
    // Some of them are outputs.
    for (const auto& [n, binding] : bindings) {
        std::ofstream file(folder + "/" + std::to_string(n), std::ios::binary);
        if (!file.write(binding.bytes, binding.size).flush()) fail("an output cannot be written");
    }
}

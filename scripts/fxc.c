/* Compiles HLSL as wgpu does where there is no DXC, with Microsoft's d3dcompiler_47.dll: for Windows, or Wine.
 *
 *     fxc.exe FILE...     exit 1 when a file fails; nothing is written
 */
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

typedef struct Blob Blob;
/* ID3DBlob */
struct Blob {
    struct {
        void *query_interface, *add_ref;
        ULONG(WINAPI *release)(Blob *);
        char *(WINAPI *pointer)(Blob *);
        SIZE_T(WINAPI *size)(Blob *);
    } *methods;
};
typedef HRESULT(WINAPI *Compile)(const void *, SIZE_T, const char *, const void *, void *, const char *, const char *, UINT,
                                 UINT, Blob **, Blob **);

static const UINT strict = 1 << 11;

int main(int count, char **files) {
    HMODULE library = LoadLibraryA("d3dcompiler_47.dll");
    Compile compile = library ? (Compile)(void *)GetProcAddress(library, "D3DCompile") : NULL;
    if (!compile) {
        fprintf(stderr, "there is no d3dcompiler_47.dll\n");
        return 2;
    }
    int failed = 0;
    for (int i = 1; i < count; i++) {
        static char text[1 << 20];
        FILE *file = fopen(files[i], "rb");
        size_t size = file ? fread(text, 1, sizeof text, file) : 0;
        if (!file || size == 0 || size == sizeof text) {
            fprintf(stderr, "%s cannot be read\n", files[i]);
            return 2;
        }
        fclose(file);
        Blob *code = NULL, *messages = NULL;
        HRESULT result = compile(text, size, files[i], NULL, NULL, "main", "cs_5_1", strict, 0, &code, &messages);
        if (result < 0) {
            printf("%s: %#lx\n", files[i], (unsigned long)result);
            if (messages)
                printf("%.*s\n", (int)messages->methods->size(messages), messages->methods->pointer(messages));
            failed++;
        }
        if (code) code->methods->release(code);
        if (messages) messages->methods->release(messages);
    }
    printf("FXC: %d passed, %d failed\n", count - 1 - failed, failed);
    return failed > 0;
}

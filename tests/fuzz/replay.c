/*
 * replay.c - run a target of the fuzzer over files, without a fuzzer.
 *
 *     replay FILE...          print a verdict for each
 *     replay -d DIR FILE...   and write the log that it stands for into a directory of its name
 */
#include "fuzz.h"
#include "memory_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { INPUT_MOST = 1 << 16 };

static uint8_t input[INPUT_MOST];

static int judge(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 2;
    }
    const size_t size = fread(input, 1, sizeof input, file);
    fclose(file);
    /* Memory of exactly that size, so that the sanitizer sees a read beyond it. */
    uint8_t *exact = malloc(size ? size : 1);
    if (!exact)
        return 2;
    memcpy(exact, input, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 0;
}

static int dump(const char *base, const char *input_path)
{
    const char *slash = strrchr(input_path, '/');
    char folder[2048], path[4096];
    snprintf(folder, sizeof folder, "%s/%s", base, slash ? slash + 1 : input_path);
    if (mkdir(folder, 0777) < 0) {
        perror(folder);
        return 2;
    }
    for (int i = 0; i < MEMORY_FILES_MAX; i++) {
        const struct memory_file *file = &memory_files[i];
        if (!file->name[0])
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, file->name);
        FILE *out = fopen(path, "wb");
        if (!out || fwrite(file->data, 1, file->size, out) != file->size || fclose(out) != 0) {
            perror(path);
            return 2;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    const bool dumps = argc > 2 && strcmp(argv[1], "-d") == 0;
    for (int i = dumps ? 3 : 1; i < argc; i++) {
        int rc = judge(argv[i]);
        if (rc == 0 && dumps)
            rc = dump(argv[2], argv[i]);
        if (rc)
            return rc;
        printf("%s\t%s\n", argv[i], fuzz_verdict);
        fflush(stdout);
    }
    return 0;
}

// What a plain loop makes of a ref64 stream in memory: L1I and L1D of 32 KiB and 8 ways, L2 of 2 MiB
// and 16 ways, 64-byte lines; ITLB and DTLB of 64 entries, fully associative; all LRU, by lists that
// the line used last is at the head of. No write-backs. Fetches from the line fetched last, and
// lines and pages at the head of their list, are passed over.
//
// usage: plain_loop STREAM.ref64; prints million references/s of CPU time, and the misses.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t l1[2][64][8], l2[2048][16], tlb[2][64];
static uint64_t l1_misses[2], l2_misses, tlb_misses[2];

static double cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

// Not at the head: moves to it, in place of the last where it is not there.
static int __attribute__((noinline)) further(uint64_t *set, uint64_t wanted, int ways) {
    int way = 1;
    while (way < ways - 1 && set[way] != wanted) way++;
    int hit = set[way] == wanted;
    memmove(set + 1, set, 8 * way);
    set[0] = wanted;
    return hit;
}

static inline void page(int side, uint64_t wanted) {
    if (tlb[side][0] != wanted) tlb_misses[side] += !further(tlb[side], wanted, 64);
}

static inline void line(int side, uint64_t wanted) {
    uint64_t *set = l1[side][wanted % 64];
    if (set[0] == wanted || further(set, wanted, 8)) return;
    l1_misses[side]++;
    set = l2[wanted % 2048];
    if (set[0] != wanted) l2_misses += !further(set, wanted, 16);
}

int main(int count, char **arguments) {
    FILE *file = count == 2 ? fopen(arguments[1], "rb") : NULL;
    if (!file) return fprintf(stderr, "usage: plain_loop STREAM.ref64\n"), 2;
    fseek(file, 0, SEEK_END);
    size_t references = ftell(file) / 8;
    rewind(file);
    uint64_t *stream = malloc(8 * references);
    if (!stream || fread(stream, 8, references, file) != references) return perror(arguments[1]), 1;
    memset(l1, 255, sizeof l1), memset(l2, 255, sizeof l2), memset(tlb, 255, sizeof tlb);
    double started = cpu_seconds();
    uint64_t fetched = UINT64_MAX;
    for (size_t i = 0; i < references; i++) {
        uint64_t first = stream[i] & ((1ull << 48) - 1);
        uint64_t last = first + (stream[i] >> 48 & 255) - 1;
        int side = (stream[i] >> 56 & 3) != 2;
        first >>= 6, last >>= 6;
        if (!side && first == fetched && last == fetched) continue;
        if (side || first != fetched) page(side, first >> 6), line(side, first);
        if (last != first) page(side, last >> 6), line(side, last);
        if (!side) fetched = last;
    }
    double seconds = cpu_seconds() - started;
    printf("%.1f million references/s; misses: l1i %lu, l1d %lu, l2 %lu, itlb %lu, dtlb %lu\n",
           references / seconds / 1e6, l1_misses[0], l1_misses[1], l2_misses, tlb_misses[0],
           tlb_misses[1]);
}

/* A stand-in for libcudart and libcuda: two "devices" whose memory is host memory.
 *
 * An allocation is a POSIX shared memory object, and its IPC handle holds the object's name; so processes share
 * "device" memory as they do with CUDA. What the real libraries refuse and the server relies on is refused here too:
 * addresses outside of an allocation, devices that are not there, streams of another device, handles of nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101, MAP_FAILED_ = 205,
    INVALID_HANDLE = 400, ILLEGAL_ADDRESS = 700
};
enum { DEVICES = 2, MAX_MAPPINGS = 256, HOST_TO_DEVICE = 1, DEVICE_TO_HOST = 2 };

typedef struct { char reserved[64]; } ipc_handle;
typedef struct { char *address; size_t size; int fd; char name[64]; } mapping;
typedef struct { int device; } stream;

static const char PREFIX[] = "/cuda_standin_";
static mapping mappings[MAX_MAPPINGS];
static __thread int current_device, last_error;

static int result(int code) { if (code) last_error = code; return code; }

static mapping *find(const char *address, size_t size) {
    for (mapping *each = mappings; each < mappings + MAX_MAPPINGS; each++)
        if (each->address && address >= each->address && size <= each->size
            && (size_t)(address - each->address) <= each->size - size) return each;
    return NULL;
}

static int map(const char *name, int fd, void **address) {
    struct stat status;
    mapping *entry = mappings;
    while (entry < mappings + MAX_MAPPINGS && entry->address) entry++;
    if (entry == mappings + MAX_MAPPINGS || fstat(fd, &status)) return close(fd), OUT_OF_MEMORY;
    void *mapped = mmap(NULL, status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) return close(fd), MAP_FAILED_;
    entry->address = *address = mapped, entry->size = status.st_size, entry->fd = fd;
    strcpy(entry->name, name);
    return SUCCESS;
}

static int unmap(void *address) {
    mapping *entry = find(address, 0);
    if (!entry || entry->address != address) return INVALID_VALUE;
    munmap(address, entry->size);
    close(entry->fd);
    entry->address = NULL;
    return SUCCESS;
}

int cudaGetDeviceCount(int *count) {
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    *count = visible && !*visible ? 0 : DEVICES;
    return result(*count ? SUCCESS : NO_DEVICE);
}

int cudaGetDevice(int *device) { *device = current_device; return SUCCESS; }

int cudaSetDevice(int device) {
    if (device < 0 || device >= DEVICES) return result(INVALID_DEVICE);
    current_device = device;
    return SUCCESS;
}

int cudaMalloc(void **address, size_t size) {
    static int made;
    char name[64];
    snprintf(name, sizeof name, "%s%d_%d", PREFIX, getpid(), made++);
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0 || ftruncate(fd, size)) return result(OUT_OF_MEMORY);
    return result(map(name, fd, address));
}

int cudaFree(void *address) {
    mapping *entry = find(address, 0);
    if (entry) shm_unlink(entry->name);
    return result(unmap(address));
}

int cudaIpcGetMemHandle(ipc_handle *handle, void *address) {
    mapping *entry = find(address, 0);
    if (!entry) return result(INVALID_VALUE);
    memset(handle, 0, sizeof *handle);
    strcpy(handle->reserved, entry->name);
    return SUCCESS;
}

int cudaIpcOpenMemHandle(void **address, ipc_handle handle, unsigned flags) {
    if (flags != 1 || strncmp(handle.reserved, PREFIX, sizeof PREFIX - 1) || handle.reserved[63])
        return result(INVALID_VALUE);
    int fd = shm_open(handle.reserved, O_RDWR, 0);
    return result(fd < 0 ? INVALID_HANDLE : map(handle.reserved, fd, address));
}

int cudaIpcCloseMemHandle(void *address) { return result(unmap(address)); }

int cudaStreamCreateWithFlags(stream **made, unsigned flags) {
    *made = malloc(sizeof **made);
    (*made)->device = current_device;
    return result(flags == 1 ? SUCCESS : INVALID_VALUE);
}

int cudaStreamSynchronize(stream *which) {
    return result(which->device == current_device ? SUCCESS : INVALID_HANDLE);
}

int cudaMemcpyAsync(void *target, const void *source, size_t size, int kind, stream *which) {
    struct stat status;
    mapping *entry = find(kind == HOST_TO_DEVICE ? target : source, size);
    if (!entry || (kind != HOST_TO_DEVICE && kind != DEVICE_TO_HOST)) return result(INVALID_VALUE);
    if (which && which->device != current_device) return result(INVALID_HANDLE);
    if (fstat(entry->fd, &status) || (size_t)status.st_size < entry->size) return result(ILLEGAL_ADDRESS);
    memcpy(target, source, size);
    return SUCCESS;
}

int cudaMemcpy(void *target, const void *source, size_t size, int kind) {
    return cudaMemcpyAsync(target, source, size, kind, NULL);
}

int cudaGetLastError(void) { int code = last_error; last_error = SUCCESS; return code; }

const char *cudaGetErrorString(int code) {
    switch (code) {
    case INVALID_VALUE: return "invalid argument";
    case OUT_OF_MEMORY: return "out of memory";
    case NO_DEVICE: return "no CUDA-capable device is detected";
    case INVALID_DEVICE: return "invalid device ordinal";
    case MAP_FAILED_: return "mapping of buffer object failed";
    case INVALID_HANDLE: return "invalid resource handle";
    case ILLEGAL_ADDRESS: return "an illegal memory access was encountered";
    default: return "unrecognized error code";
    }
}

/* The driver's. Whoever looks for devices to compute on finds none. */
int cuInit(unsigned flags) { (void)flags; return NO_DEVICE; }

int cuDeviceGetCount(int *count) { *count = 0; return NO_DEVICE; }

int cuMemGetAddressRange_v2(unsigned long long *base, size_t *size, unsigned long long address) {
    mapping *entry = find((char *)(uintptr_t)address, 0);
    if (!entry) return INVALID_VALUE;
    *base = (uintptr_t)entry->address, *size = entry->size;
    return SUCCESS;
}

/* A library with the interface of NVML (nvml.h) that tells figures from a file, so that calls of pynvml go through its
   real ABI where there is no driver. $NVML_FIGURES has a line for each GPU: utilization in percent, bytes used,
   milliwatts, and 1 where it counts energy, which is its power since the library was loaded; -1: not supported. A part
   of a GPU (MIG) has no utilization; a GPU that is divided into such parts has a 2 in the end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, DRIVER_NOT_LOADED = 9 };
enum { UTILIZATION, MEMORY, POWER, COUNTS, FIGURES };

static struct timespec loaded;

static int figure(long gpu, int column, long long *value) {
    long long row[FIGURES];
    FILE *file = fopen(getenv("NVML_FIGURES") ? getenv("NVML_FIGURES") : "", "r");
    int found = 0;
    if (file == NULL) return DRIVER_NOT_LOADED;
    for (long line = 1; line <= gpu; line++)
        found = fscanf(file, "%lld %lld %lld %lld", &row[0], &row[1], &row[2], &row[3]) == FIGURES;
    fclose(file);
    if (!found) return NOT_FOUND;
    *value = row[column];
    return row[column] < 0 ? NOT_SUPPORTED : SUCCESS;
}

int nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    clock_gettime(CLOCK_MONOTONIC, &loaded);
    return getenv("NVML_FIGURES") ? SUCCESS : DRIVER_NOT_LOADED;
}

int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int code) { return code == NOT_SUPPORTED ? "Not Supported" : "an error"; }

/* GPU-0, GPU-1, MIG-2, ... */
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    long long none;
    long gpu = strncmp(uuid, "GPU-", 4) && strncmp(uuid, "MIG-", 4) ? -1 : atol(uuid + 4);
    int code = gpu < 0 ? NOT_FOUND : figure(gpu + 1, UTILIZATION, &none);
    if (code != (uuid[0] == 'M' ? NOT_SUPPORTED : SUCCESS)) return NOT_FOUND;
    *device = (void *)(gpu + 1);
    return SUCCESS;
}

int nvmlDeviceGetMigMode(void *device, unsigned int *current, unsigned int *pending) {
    long long value;
    if (figure((long)device, COUNTS, &value) != SUCCESS) return NOT_SUPPORTED;
    *current = *pending = value == 2;
    return SUCCESS;
}

int nvmlDeviceGetIndex(void *device, unsigned int *index) {
    *index = (unsigned int)((long)device - 1);
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *device, unsigned int rates[2]) {
    long long value;
    int code = figure((long)device, UTILIZATION, &value);
    if (code == SUCCESS) rates[0] = (unsigned int)value, rates[1] = 0;
    return code;
}

int nvmlDeviceGetMemoryInfo(void *device, unsigned long long total_free_used[3]) {
    long long value;
    int code = figure((long)device, MEMORY, &value);
    if (code == SUCCESS) {
        total_free_used[0] = 80ULL << 30;
        total_free_used[1] = total_free_used[0] - (unsigned long long)value;
        total_free_used[2] = (unsigned long long)value;
    }
    return code;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned int *milliwatts) {
    long long value;
    int code = figure((long)device, POWER, &value);
    if (code == SUCCESS) *milliwatts = (unsigned int)value;
    return code;
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
    struct timespec now;
    long long counts, milliwatts;
    int code = figure((long)device, COUNTS, &counts);
    if (code != SUCCESS || (code = figure((long)device, POWER, &milliwatts)) != SUCCESS) return code;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double seconds = (double)(now.tv_sec - loaded.tv_sec) + 1e-9 * (double)(now.tv_nsec - loaded.tv_nsec);
    *millijoules = 5000000ULL + (unsigned long long)(seconds * (double)milliwatts);
    return SUCCESS;
}
